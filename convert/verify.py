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

# Least mean and least single cosine to float32 that an artefact may have. Measured for int8 on all-MiniLM-L6-v2:
# 0.9961 and 0.9810 over the probes, which are mostly in languages that it was never trained on.
# int4: 0.9886 and 0.981 on the trained miniatures (tests/test_levels.py).
BOUNDS = {"float32": (0.999999, 0.99999), "float16": (0.9999, 0.999), "int8": (0.995, 0.98), "int4": (0.97, 0.9)}
# Largest change of an element when a text is embedded among others; integers may round the other way.
COMPANY = {"float32": 1e-5, "float16": 1e-5, "int8": 2e-3, "int4": 2e-3}


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


def verify(folder: Path, level: str, reference: NDArray[np.float32]) -> Result:
    """Compare a level with the reference, and each text alone with the same text in a batch.

    Raises VerificationError, with the figures and the text, below the level's bound.
    """
    alone, together = embed(folder, level)
    cosines = (alone * reference).sum(axis=1)
    company = float(np.abs(alone - together).max())
    result = Result(float(cosines.mean()), float(cosines.min()), company, len(cosines))
    mean, least = BOUNDS[level]
    if not (result.mean >= mean and result.least >= least):
        raise VerificationError(
            f"{level} was not kept: cosine to float32 is {result.mean:.5f} in the mean and {result.least:.5f} at least "
            f"(bounds {mean} and {least}); worst is probe {int(cosines.argmin())}"
        )
    if not result.company <= COMPANY[level]:
        raise VerificationError(
            f"{level} was not kept: a text's vector changed by {result.company:.1e} among others "
            f"(bound {COMPANY[level]})"
        )
    return result
