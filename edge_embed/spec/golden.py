"""What a model gave where it was made: texts, their ids, their exact vectors, and how near each level came to them."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from edge_embed.errors import CorruptModelError

from .sample_image import FIRST, NEWEST


@dataclass(frozen=True, kw_only=True)
class Golden:
    """A text, prompt included, cut to `max_tokens`; SHA-256 of its ids; its float32 vector, kept as float16 in base64.

    The vector is L2-normalised and of full length.
    """

    text: str
    max_tokens: int
    ids: str
    vector: str


@dataclass(frozen=True, kw_only=True)
class GoldenImage:
    """The image that `sample_image(seed, drawing)` draws, and its vector, kept as Golden's is."""

    seed: int
    vector: str
    drawing: int = FIRST  # what folders mean that do not say


@dataclass(frozen=True, kw_only=True)
class Loss:
    """Mean and least cosine to float32 over the converter's probes, and the largest change of an element in a batch."""

    mean: float
    min: float
    batch_deviation: float

    def __str__(self) -> str:
        """Say the figures in half a sentence."""
        return (
            f"their cosine to float32 is {self.mean:.5f} in the mean and {self.min:.5f} at least, and an element of a "
            f"vector changes by up to {self.batch_deviation:.1e} among others"
        )


@dataclass(frozen=True, kw_only=True)
class Fidelity:
    """What weights kept: the cosine to each golden vector, and by how much an element may change in another batch.

    `accepted` is what was measured of weights below their level's bound, which their maker kept all the same.
    """

    cosines: tuple[float, ...]
    batch_deviation: float = field(metadata={"key": "company"})  # as format 1 of edge_embed.json calls it
    accepted: Loss | None = field(default=None, metadata={"optional": True})


NOISE = 1e-5  # of float32: kernels for several rows add in another order
COMPANY_SHARE = 0.4  # of what a level loses; GGUF F16 had 0.2, int8 with one scale for a whole batch 0.67 to 0.98


def allowed_deviation(error: float) -> float:
    """Return by how much an element may change in another batch, where a level changes elements by up to `error`.

    A bound of its own would refuse honest levels of models whose channels are massive, and pass dishonest ones of tame
    models: what a batch changes is rounded by the same steps as what the level loses.
    """
    return max(NOISE, COMPANY_SHARE * error)


def golden(text: str, max_tokens: int, ids: NDArray[np.int32], vector: NDArray[np.float32]) -> Golden:
    """Record a text, its ids (tokens,) and its vector (dim,)."""
    return Golden(text=text, max_tokens=max_tokens, ids=ids_digest(ids), vector=_pack(vector))


def ids_digest(ids: NDArray[np.int32]) -> str:
    """Return the SHA-256, in hex, of ids as little-endian int32."""
    return hashlib.sha256(ids.astype("<i4").tobytes()).hexdigest()


def golden_image(seed: int, vector: NDArray[np.float32]) -> GoldenImage:
    """Record the vector (dim,) of the sample image of a seed, as it is drawn now."""
    return GoldenImage(seed=seed, vector=_pack(vector), drawing=NEWEST)


def golden_vectors(goldens: Sequence[Golden | GoldenImage], dim: int) -> NDArray[np.float32]:
    """Return the vectors (n, dim); raise CorruptModelError for one that is damaged."""
    try:
        rows = [np.frombuffer(base64.b64decode(one.vector, validate=True), "<f2") for one in goldens]
    except ValueError as error:
        raise CorruptModelError(f"a golden vector is not base64 of float16: {error}") from error
    if any(len(row) != dim or not np.isfinite(row).all() or not row.any() for row in rows):
        raise CorruptModelError(f"a golden vector does not hold {dim} finite numbers that are not all 0")
    vectors = np.array(rows, np.float32)
    unit: NDArray[np.float32] = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)  # float16 changed the length
    return unit


def _pack(vector: NDArray[np.float32]) -> str:
    return base64.b64encode(vector.astype("<f2").tobytes()).decode()
