"""A backend without weights: rows that depend on ids and pixels alone. For tests of the pipeline and of users' code."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

import numpy as np

from edge_embed.spec.image import ImagePixels
from edge_embed.spec.model import ModelSpec
from edge_embed.spec.weights import Weights

from . import Batch, Rows


class FakeBackend:
    """Give each token id a fixed pseudo-random row."""

    engine = "fake"

    def __init__(self, dim: int) -> None:
        self.dim = dim
        self.batches: list[Batch] = []
        self.closed = False

    def forward(self, batch: Batch) -> list[Rows]:
        """Return (tokens, dim) for each text; equal ids give equal rows in every batch."""
        self.batches.append(batch)
        out = [np.stack([row_of(int(token), self.dim) for token in ids]) for ids in batch.ids]
        for rows, image in zip(out, batch.image_rows, strict=False):
            if image is not None:
                rows[image.at : image.at + len(image.rows)] = image.rows
        return out

    def close(self) -> None:
        """Note that it was closed."""
        self.closed = True


class FakeImageBackend:
    """Give each tile of an image one row, scaled by the tile's brightness."""

    engine = "fake"

    def __init__(self, dim: int) -> None:
        self.dim = dim
        self.batches: list[Sequence[ImagePixels]] = []
        self.closed = False

    def forward(self, images: Sequence[ImagePixels]) -> list[Rows]:
        """Return (tiles, dim) for each image; equal pixels give equal rows in every batch."""
        self.batches.append(images)
        return [np.outer(image.pixels.mean(axis=(1, 2, 3)), row_of(0, self.dim)) for image in images]

    def close(self) -> None:
        """Note that it was closed."""
        self.closed = True


def load(
    folder: Path,
    spec: ModelSpec,
    weights: Weights,
    threads: int,
    adapters: Mapping[str, Path] = MappingProxyType({}),
) -> FakeBackend:
    """Make a fake backend of the spec's dimension; reads nothing."""
    return FakeBackend(spec.width)


def row_of(token: int, dim: int) -> Rows:
    return np.random.default_rng(token).standard_normal(dim, np.float32)
