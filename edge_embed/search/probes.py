"""Known texts, by whose vectors an index tells its model from others where there is no fingerprint."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from edge_embed.errors import SearchIndexError
from edge_embed.vectors import similarity_pairwise

from .meta import Meta

SAME = 0.9  # mean cosine of the same text: int8 and Q4_K_M keep 0.97 to 0.999, other models are far below
TEXTS = (
    "The parser returns a list of tokens and stops at the first unknown character.",
    "Tenants must give three months' notice in writing before they leave the flat.",
    "The cathedral's north tower was finished in 1488, after a fire had destroyed the first one.",
    "Tighten the bolts of the front wheel crosswise, then check the brake cable.",
    "In the second movement the cellos take up the theme an octave lower.",
    "The volcano has been quiet since its last eruption covered the island with ash.",
    "Add new members to the mailing list before the meeting on Thursday.",
    "Her novel tells of two sisters who inherit a lighthouse on the coast.",
)


def agreement(meta: Meta, vectors: NDArray[np.float32], path: str) -> float:
    """Return the mean cosine of a model's vectors (8, dims) of TEXTS with those that an index notes.

    Raises SearchIndexError for an index whose own are damaged.
    """
    noted = np.frombuffer(meta.probes[: len(meta.probes) // 2 * 2], "<f2").astype(np.float32)
    if noted.size != len(TEXTS) * meta.dims:
        raise SearchIndexError(f"{path} is damaged: its probes have {noted.size} numbers; make the index anew")
    return float(similarity_pairwise(noted.reshape(len(TEXTS), -1), vectors).mean())
