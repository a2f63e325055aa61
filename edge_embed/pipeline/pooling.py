"""Rows of hidden states -> one vector. A backend hands over real rows only, so padding cannot be met here."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from edge_embed.spec.model import Pooling


def pool(rows: NDArray[np.float32], pooling: Pooling) -> NDArray[np.float32]:
    """Reduce rows (tokens, dim) of one input to (dim,), float32: the last row, the first, or their mean."""
    pooled: NDArray[np.float32]
    if pooling == "mean":
        pooled = rows.mean(axis=0, dtype=np.float32)
    else:
        pooled = rows[-1 if pooling == "last" else 0]
    return pooled
