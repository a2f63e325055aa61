"""Runs every artefact through edge_embed against the float32 reference."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edge_embed.backends import load_images
from edge_embed.embedder import Embedder
from edge_embed.errors import TruncationWarning
from edge_embed.images.preprocess import load_image
from edge_embed.loading.selftest import embed_images
from edge_embed.progress import progress
from edge_embed.spec.golden import Loss, allowed_deviation
from edge_embed.spec.model import ModelSpec
from edge_embed.spec.sample_image import sample_image
from edge_embed.spec.weights import Part, Weights

from ..export import Bound
from .probes import LONGEST, probes

IMAGES = 12
THREADS = 2
Vectors = NDArray[np.float32]
Reference = dict[Part, Vectors]  # the probes' exact vectors by the part that gives them


@dataclass(frozen=True)
class Result:
    """What was measured over so many texts, how much a batch may change an element, and in what it falls short."""

    loss: Loss
    texts: int
    allowed: float
    shortfall: str | None


def embed(folder: Path, spec: ModelSpec, weights: Weights, file: str | None = None) -> tuple[Vectors, Vectors]:
    """Embed the probes of the weights' part one by one, and together -> two arrays (probes, dim).

    `file` is a graph of a text part that is to be opened in the place of the level's own.
    """
    if weights.part == "image":
        return _embed_images(folder, spec, weights)
    longest = min(spec.max_tokens, LONGEST)
    model_at = str(folder / file) if file else f"{folder}:{weights.level}"
    with Embedder(model_at, max_tokens=longest) as model, warnings.catch_warnings():
        warnings.simplefilter("ignore", TruncationWarning)  # the longest probe is cut on purpose
        texts = probes(model.spec.max_tokens)
        alone = []
        with progress(f"computing probes, {weights.name}", len(texts), "texts") as step:
            for text in texts:
                alone.append(model.encode(text, normalize_embeddings=True))
                step()
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


def measure(folder: Path, spec: ModelSpec, weights: Weights, reference: Vectors, bound: Bound) -> Result:
    """Compare weights with the reference, and each probe alone with the same probe in a batch."""
    alone, together = embed(folder, spec, weights)
    cosines = np.minimum((alone * reference).sum(axis=1), (together * reference).sum(axis=1))
    batch_deviation, error = (float(np.abs(alone - other).max()) for other in (together, reference))
    loss = Loss(mean=float(cosines.mean()), min=float(cosines.min()), batch_deviation=batch_deviation)
    allowed = allowed_deviation(error)
    if weights.part == "image":
        bound = replace(bound, outliers=0)  # no image is as short as a text can be
    return Result(loss, len(cosines), allowed, _shortfall(cosines, loss, error, allowed, bound))


def _shortfall(cosines: NDArray[np.float32], loss: Loss, error: float, allowed: float, bound: Bound) -> str | None:
    """Say, with the figures, in what weights fall below their bound; None where they do not."""
    if not bound.holds(cosines):
        return (
            f"cosine to float32 is {loss.mean:.5f} in the mean and {loss.min:.5f} at least (bounds {bound.mean} and "
            f"{bound.least})"
        )
    if not loss.batch_deviation <= allowed:
        return (
            f"a vector changed by {loss.batch_deviation:.1e} among others (bound {allowed:.1e}, where the level itself "
            f"changes it by {error:.1e})"
        )
    return None
