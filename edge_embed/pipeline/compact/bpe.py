"""Words -> pieces of a byte-level BPE vocabulary: the pair of the lowest rank is joined, the leftmost first, and again.

All words of a call take their steps together, in arrays with a row for each word.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .trie import Letters, Trie, lay_out
from .words import Ids, Words

NEVER = np.iinfo(np.int32).max  # the rank of a pair that is not joined
LEFT = 32  # bits of a pair's right half
FEW = 32  # letters; shorter words take their steps together, whatever their lengths
CELLS = 1 << 20  # of the arrays, letters and words that take their steps together


@dataclass(frozen=True)
class Merges:
    """Sorted pairs, `left << 32 | right`; for each its rank, and the piece that it becomes."""

    pairs: NDArray[np.int64]
    ranks: NDArray[np.int32]
    made: NDArray[np.int32]

    def look_up(self, left: Letters, right: Letters) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
        """Return the ranks of pairs, and what they become."""
        wanted = left << LEFT | right
        place = np.minimum(self.pairs.searchsorted(wanted), len(self.pairs) - 1)
        return np.where(self.pairs[place] == wanted, self.ranks[place], NEVER).astype(np.int32), self.made[place]


class BpeWords(Words):
    """A vocabulary with all bytes, and its merges; with `whole` a word that is a piece is not made of others."""

    longest = 1 << 10  # each pair that is joined is a step

    def __init__(self, trie: Trie, merges: Merges, whole: bool) -> None:
        super().__init__()
        self._trie, self._merges, self._whole = trie, merges, whole

    def _split(self, words: Sequence[str]) -> list[Ids]:
        found: list[Ids] = [[]] * len(words)
        letters, ends = lay_out(words)
        lengths = np.diff(ends, prepend=-1) - 1
        starts = ends - lengths
        pieces = np.where(self._whole, self._whole_words(letters, starts, lengths), -1)
        for n in np.flatnonzero(pieces >= 0).tolist():
            found[n] = [int(pieces[n])]
        rest = np.flatnonzero(pieces < 0)
        rest = rest[lengths[rest].argsort(kind="stable")]  # those of like length together
        while len(rest):
            width = max(FEW, 2 * int(lengths[rest[0]]))
            count = min(int(lengths[rest].searchsorted(width, "right")), max(1, CELLS // width))
            now, rest = rest[:count], rest[count:]
            for n, ids in zip(now.tolist(), self._joined(letters, starts[now], lengths[now]), strict=True):
                found[n] = ids
        return found

    def _whole_words(self, letters: Letters, starts: Letters, lengths: Letters) -> Letters:
        """Return the piece that each word is; -1 for a word that is none."""
        found = np.full(len(starts), -1, np.int64)
        left, node, depth = np.arange(len(starts)), np.zeros(len(starts), np.int64), 0
        while len(left):
            could, node = self._trie.follow(node, letters[starts[left] + depth])
            left, depth = left[could], depth + 1
            done = lengths[left] == depth
            found[left[done]] = self._trie.pieces[node[done]]
            left, node = left[~done], node[~done]
        return found

    def _joined(self, letters: Letters, starts: Letters, lengths: Letters) -> list[Ids]:
        """Join the letters of words; a joined pair stands in its left half's place, and the other is passed over."""
        width = int(lengths.max())
        columns = np.arange(width)
        inside = columns < lengths[:, None]
        ids = np.full((len(starts), width + 1), -1, np.int64)
        _, node = self._trie.follow(
            np.zeros(int(lengths.sum()), np.int64), letters[(starts[:, None] + columns)[inside]]
        )
        ids[:, :-1][inside] = self._trie.pieces[node]
        ranks = np.full(ids.shape, NEVER, np.int32)
        made = np.zeros(ids.shape, np.int32)
        pair = columns < lengths[:, None] - 1
        ranks[:, :-1][pair], made[:, :-1][pair] = self._merges.look_up(ids[:, :-1][pair], ids[:, 1:][pair])
        after = np.where(columns + 1 < lengths[:, None], columns + 1, width)
        before = np.broadcast_to(np.arange(-1, width), ids.shape).copy()
        rows = np.arange(len(starts))
        while True:
            at = ranks[rows].argmin(axis=1)
            due = ranks[rows, at] < NEVER
            rows, at = rows[due], at[due]
            if not len(rows):
                return [row[row >= 0].tolist() for row in ids]
            gone = after[rows, at]
            follower = after[rows, gone]
            ids[rows, at], ids[rows, gone] = made[rows, at], -1
            ranks[rows, gone], ranks[rows, at] = NEVER, NEVER
            after[rows, at], before[rows, follower] = follower, at
            for left, right in ((before[rows, at], at), (at, follower)):
                real = (left >= 0) & (right < width)
                row, left, right = rows[real], left[real], right[real]
                ranks[row, left], made[row, left] = self._merges.look_up(ids[row, left], ids[row, right])
