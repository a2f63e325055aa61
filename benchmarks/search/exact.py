"""What a search of float32 vectors finds, block by block, and how much of it another search finds."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from benchmarks.quality.scores import Vectors

TOP = 10


class Exact:
    """The TOP best rows of each query, of all the blocks that have been seen."""

    def __init__(self, queries: Vectors) -> None:
        self.rows: NDArray[np.int64] = np.empty((len(queries), 0), np.int64)
        self._queries, self._scores = queries, np.empty((len(queries), 0), np.float32)
        self._seen = 0

    def watch(self, blocks: Iterable[Vectors]) -> Iterator[Vectors]:
        """Yield each block, after it has been searched."""
        for block in blocks:
            rows = np.broadcast_to(np.arange(self._seen, self._seen + len(block)), (len(self._queries), len(block)))
            scores = np.concatenate([self._scores, self._queries @ block.T], axis=1)
            order = np.argsort(-scores, axis=1)[:, :TOP]
            self.rows = np.take_along_axis(np.concatenate([self.rows, rows], axis=1), order, 1)
            self._scores = np.take_along_axis(scores, order, 1)
            self._seen += len(block)
            yield block

    def recall(self, found: Iterable[Sequence[int]]) -> float:
        """Return which share of them is found."""
        pairs = zip(found, self.rows.tolist(), strict=True)
        return float(np.mean([len({*map(int, one[:TOP])} & {*other}) / TOP for one, other in pairs]))
