"""A backend without weights: rows that depend on the token ids alone. For tests of the pipeline and of users' code."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ..spec import ModelSpec, Weights
from . import Batch, Rows


class FakeBackend:
    """Give each token id a fixed pseudo-random row."""

    engine = "fake"

    def __init__(self, dim: int) -> None:
        self.dim = dim
        self.batches: list[Batch] = []
        self.closed = False

    def forward(self, batch: Batch) -> list[Rows]:
        """Return (tokens, dim) for each input; equal ids give equal rows in every batch."""
        self.batches.append(batch)
        return [np.stack([self._row(int(token)) for token in ids]) for ids in batch.ids]

    def _row(self, token: int) -> Rows:
        return np.random.default_rng(token).standard_normal(self.dim, np.float32)

    def close(self) -> None:
        """Note that it was closed."""
        self.closed = True


def load(folder: Path, spec: ModelSpec, weights: Weights, threads: int) -> FakeBackend:
    """Make a fake backend of the spec's dimension; reads nothing."""
    return FakeBackend(spec.dim)
