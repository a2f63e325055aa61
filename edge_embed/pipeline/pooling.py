"""Rows of hidden states -> one vector. A backend hands over real rows only, so padding cannot be met here."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from edge_embed.spec.model import Pooling


def pool(rows: NDArray[np.float32], pooling: Pooling, skip: int = 0) -> NDArray[np.float32]:
    """Reduce rows (tokens, dim) of one input to (dim,), float32, as sentence-transformers' Pooling does.

    The first `skip` rows are left out; where there are no others, the vector is 0. Weights of `weightedmean` count from
    the first row of all.
    """
    kept = rows if pooling == "last" else rows[skip:]  # of which an engine may give the last alone
    pooled: NDArray[np.float32]
    if not len(kept):
        pooled = np.zeros(rows.shape[1], np.float32)
    elif pooling == "mean":
        pooled = kept.mean(axis=0, dtype=np.float32)
    elif pooling == "mean_sqrt_len":
        pooled = kept.sum(axis=0, dtype=np.float32) / np.sqrt(np.float32(len(kept)))
    elif pooling == "max":
        pooled = kept.max(axis=0)
    elif pooling == "weightedmean":
        weights = np.arange(1 + skip, 1 + len(rows), dtype=np.float32)
        pooled = weights @ kept / weights.sum()
    else:
        pooled = kept[-1 if pooling == "last" else 0]
    return pooled
