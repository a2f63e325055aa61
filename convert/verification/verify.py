"""Runs every artefact through edge_embed against the float32 reference, and fails closed."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edge_embed.backends import load_images
from edge_embed.embedder import Embedder
from edge_embed.errors import TruncationWarning, VerificationError
from edge_embed.images.preprocess import load_image
from edge_embed.loading.selftest import embed_images
from edge_embed.spec.golden import sample_image
from edge_embed.spec.model import ModelSpec
from edge_embed.spec.weights import Weights

from ..export import Bound
from .probes import LONGEST, probes

IMAGES = 12
THREADS = 2
Vectors = NDArray[np.float32]


@dataclass(frozen=True)
class Result:
    """What was measured: mean and minimum cosine, largest change of an element in another batch, number of texts."""

    mean: float
    min: float
    batch_deviation: float
    texts: int


def embed(folder: Path, spec: ModelSpec, weights: Weights) -> tuple[Vectors, Vectors]:
    """Embed the probes of the weights' part one by one, and together -> two arrays (probes, dim)."""
    if weights.part == "image":
        return _embed_images(folder, spec, weights)
    longest = min(spec.max_tokens, LONGEST)
    with Embedder(f"{folder}:{weights.level}", max_tokens=longest) as model, warnings.catch_warnings():
        warnings.simplefilter("ignore", TruncationWarning)  # the longest probe is cut on purpose
        texts = probes(model.spec.max_tokens)
        alone = [model.encode(text, normalize_embeddings=True) for text in texts]
        return np.stack(alone), model.encode(texts, normalize_embeddings=True)


def _embed_images(folder: Path, spec: ModelSpec, weights: Weights) -> tuple[Vectors, Vectors]:
    assert spec.image is not None
    images = [load_image(sample_image(seed), spec.image) for seed in range(IMAGES)]
    backend = load_images(weights.format, folder, spec, weights, THREADS)
    try:
        alone = np.concatenate([embed_images(backend, [image]) for image in images])
        return alone, embed_images(backend, images)
    finally:
        backend.close()


def verify(folder: Path, spec: ModelSpec, weights: Weights, reference: Vectors, bound: Bound) -> Result:
    """Compare weights with the reference, and each probe alone with the same probe in a batch.

    Raises VerificationError, with the figures and the probe, below the bound.
    """
    alone, together = embed(folder, spec, weights)
    cosines = (alone * reference).sum(axis=1)
    batch_deviation = float(np.abs(alone - together).max())
    result = Result(float(cosines.mean()), float(cosines.min()), batch_deviation, len(cosines))
    name = weights.level + (" (image part)" if weights.part == "image" else "")
    if not (result.mean >= bound.mean and result.min >= bound.min):
        raise VerificationError(
            f"{name} was not kept: cosine to float32 is {result.mean:.5f} in the mean and {result.min:.5f} at least "
            f"(bounds {bound.mean} and {bound.min}); worst is probe {int(cosines.argmin())}"
        )
    if not result.batch_deviation <= bound.batch_deviation:
        raise VerificationError(
            f"{name} was not kept: a vector changed by {result.batch_deviation:.1e} among others "
            f"(bound {bound.batch_deviation})"
        )
    return result
