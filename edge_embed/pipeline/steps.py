"""The texts of one window, batch by batch, in an order that depends on nothing but them: what was done may be left out.

That makes a computation that is interrupted and taken up again give the same batches, and so the same bits, on every
engine.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edge_embed.backends import TextBackend

from .batches import make_batches
from .head import Head
from .rows import TextRow, compute_rows


@dataclass(frozen=True)
class Step:
    """One batch: the positions of its texts in their window, a row (dim,) for each, and how many tokens they had."""

    positions: NDArray[np.int64]
    rows: list[NDArray[np.float32]]
    tokens: int


def text_steps(
    rows: Mapping[int, TextRow], backend: TextBackend, head: Head, batch_tokens: int, skip: int = 0
) -> Iterator[Step]:
    """Compute rows by position, those with a shared prompt first; the first `skip` batches are left out."""
    groups = [{at: row for at, row in rows.items() if bool(row.prefix) == prompted} for prompted in (True, False)]
    batches = (
        [(position, group[position]) for position in np.array([*group], np.int64)[batch].tolist()]
        for group in groups
        for batch in make_batches([len(row.ids) for row in group.values()], batch_tokens)
    )
    for batch in itertools.islice(batches, skip, None):
        positions, ready = np.array([at for at, _ in batch], np.int64), [row for _, row in batch]
        yield Step(positions, compute_rows(backend, head, ready), sum(len(row.ids) for row in ready))
