"""A backend without weights: rows that depend on ids and pixels alone. For tests of the pipeline and of users' code."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from edge_embed.spec.model import ModelSpec
from edge_embed.spec.weights import Weights

from . import Batch, Rows


class FakeBackend:
    """Give each token id a fixed pseudo-random row, and each tile of a picture one that its brightness scales."""

    engine = "fake"

    def __init__(self, dim: int) -> None:
        self.dim = dim
        self.batches: list[Batch] = []
        self.closed = False

    def forward(self, batch: Batch) -> list[Rows]:
        """Return (tokens, dim) for each input, (tiles, dim) for a picture; equal ids give equal rows in every batch."""
        self.batches.append(batch)
        if batch.pictures:
            return [np.outer(one.pixels.mean(axis=(1, 2, 3)), self._row(0)) for one in batch.pictures]
        out = [np.stack([self._row(int(token)) for token in ids]) for ids in batch.ids]
        for rows, picture in zip(out, batch.inserted, strict=False):
            if picture is not None:
                rows[picture.at : picture.at + len(picture.rows)] = picture.rows
        return out

    def _row(self, token: int) -> Rows:
        return np.random.default_rng(token).standard_normal(self.dim, np.float32)

    def close(self) -> None:
        """Note that it was closed."""
        self.closed = True


def load(folder: Path, spec: ModelSpec, weights: Weights, threads: int) -> FakeBackend:
    """Make a fake backend of the spec's dimension; reads nothing."""
    return FakeBackend(spec.dim)
