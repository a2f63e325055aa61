"""Words -> pieces of a Unigram vocabulary: those with the greatest sum of scores, by Viterbi's algorithm."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from .trie import Letters, Trie, lay_out
from .words import Ids, Words

UNKNOWN_PENALTY = 10.0  # `tokenizers` ranks an unknown character so far below the worst piece


class UnigramWords(Words):
    """A vocabulary with a score for each piece, float64; a run of unknown characters is one piece, `unknown`."""

    longest = 1 << 17

    def __init__(self, trie: Trie, scores: NDArray[np.float64], unknown: int) -> None:
        super().__init__()
        self._trie, self._scores, self._unknown = trie, scores, unknown
        self._unknown_score = float(scores.min()) - UNKNOWN_PENALTY

    def _split(self, words: Sequence[str]) -> list[Ids]:
        letters, ends = lay_out(words)
        begins, pieces = _best(*self._matches(letters, ends), len(letters))
        starts = [0, *(ends[:-1] + 1).tolist()]
        return [self._trace(start, end, begins, pieces) for start, end in zip(starts, ends.tolist(), strict=True)]

    def _matches(self, letters: Letters, ends: Letters) -> tuple[Ids, Ids, Ids, list[float]]:
        """Find the pieces at every letter -> where each begins and ends, its id and its score, by where it begins."""
        inside = np.ones(len(letters), bool)
        inside[ends] = False
        begin = np.flatnonzero(inside)
        node, depth = np.zeros(len(begin), np.int64), 0
        found: list[tuple[NDArray[np.integer], ...]] = []
        while len(begin):
            could, node = self._trie.follow(node, letters[begin + depth])
            begin, depth = begin[could], depth + 1
            piece = self._trie.pieces[node]
            here = piece >= 0
            found.append((begin[here], begin[here] + depth, piece[here]))
            if depth == 1:
                inside[begin[here]] = False  # this letter is a piece by itself
        unknown = np.flatnonzero(inside)
        found.append((unknown, unknown + 1, np.full(len(unknown), self._unknown)))
        begin, end, piece = (np.concatenate(parts) for parts in zip(*found, strict=True))
        score = self._scores[piece]
        score[len(score) - len(unknown) :] = self._unknown_score
        order = begin.argsort(kind="stable")
        return begin[order].tolist(), end[order].tolist(), piece[order].tolist(), score[order].tolist()

    def _trace(self, start: int, end: int, begins: Ids, pieces: Ids) -> Ids:
        """Return the pieces of a word, from its end back to its start."""
        ids: Ids = []
        while end > start:
            if pieces[end] != self._unknown or ids[-1:] != [self._unknown]:
                ids.append(pieces[end])
            end = begins[end]
        return ids[::-1]


def _best(begin: Ids, end: Ids, piece: Ids, score: list[float], size: int) -> tuple[Ids, Ids]:
    """Return for each place where the last piece of the best way to it begins, and which piece that is.

    Of ways with equal sums the one that was found first counts, as in `tokenizers`.
    """
    best, begins, pieces = [0.0] * size, [-1] * size, [-1] * size
    for start, stop, number, gain in zip(begin, end, piece, score, strict=True):
        total = gain + best[start]
        if begins[stop] < 0 or total > best[stop]:
            best[stop], begins[stop], pieces[stop] = total, start, number
    return begins, pieces
