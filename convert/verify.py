"""Runs every artefact through edge_embed against the float32 reference, and fails closed."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edge_embed.embedder import Embedder
from edge_embed.errors import TruncationWarning, VerificationError

from .probes import probes


@dataclass(frozen=True, kw_only=True)
class Bound:
    """Least mean and least single cosine to float32, and the largest change of an element among other texts."""

    mean: float
    least: float
    company: float


@dataclass(frozen=True)
class Result:
    """What was measured: mean and least cosine, the largest change in company, the number of texts."""

    mean: float
    least: float
    company: float
    texts: int


def embed(folder: Path, level: str) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Embed the probes one by one, and together -> two arrays (texts, dim)."""
    with Embedder(f"{folder}:{level}") as model, warnings.catch_warnings():
        warnings.simplefilter("ignore", TruncationWarning)  # the longest probe is cut on purpose
        texts = probes(model.spec.max_tokens)
        return np.stack([model.encode(text) for text in texts]), model.encode(texts)


def verify(folder: Path, level: str, reference: NDArray[np.float32], bound: Bound) -> Result:
    """Compare a level with the reference, and each text alone with the same text in a batch.

    Raises VerificationError, with the figures and the text, below the bound.
    """
    alone, together = embed(folder, level)
    cosines = (alone * reference).sum(axis=1)
    company = float(np.abs(alone - together).max())
    result = Result(float(cosines.mean()), float(cosines.min()), company, len(cosines))
    if not (result.mean >= bound.mean and result.least >= bound.least):
        raise VerificationError(
            f"{level} was not kept: cosine to float32 is {result.mean:.5f} in the mean and {result.least:.5f} at least "
            f"(bounds {bound.mean} and {bound.least}); worst is probe {int(cosines.argmin())}"
        )
    if not result.company <= bound.company:
        raise VerificationError(
            f"{level} was not kept: a text's vector changed by {result.company:.1e} among others "
            f"(bound {bound.company})"
        )
    return result
