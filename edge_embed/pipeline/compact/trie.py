"""The pieces of a vocabulary as a trie of characters: the edges of all nodes, sorted; the n-th leads to node n + 1."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

CHARACTER = 21  # bits of a code point; the number of a node stands above them
BETWEEN = (1 << CHARACTER) - 1  # no code point: what stands between words, which no edge leads along
Letters = NDArray[np.int64]


@dataclass(frozen=True)
class Trie:
    """Sorted edges, `node << 21 | character`, and for each node the id of the piece that ends there, or -1."""

    edges: NDArray[np.int64]
    pieces: NDArray[np.int32]

    def follow(self, nodes: Letters, letters: Letters) -> tuple[NDArray[np.bool_], Letters]:
        """Go one letter further from each node -> which could go, and where those are now."""
        wanted = nodes << CHARACTER | letters
        edge = np.minimum(self.edges.searchsorted(wanted), len(self.edges) - 1)
        could = self.edges[edge] == wanted
        return could, edge[could] + 1


def build_trie(words: Sequence[str], ids: Sequence[int]) -> Trie:
    """Build the trie of a vocabulary; of a word that occurs twice the later one counts, an empty one never."""
    lengths = np.array([len(word) for word in words], np.int64)
    letters, starts = to_letters("".join(words)), lengths.cumsum() - lengths
    node, edges = np.zeros(len(words), np.int64), []
    first, depth = 1, 0
    left = np.flatnonzero(lengths)
    while len(left):
        reached, place = np.unique(node[left] << CHARACTER | letters[starts[left] + depth], return_inverse=True)
        edges.append(reached)
        node[left] = first + place
        first, depth = first + len(reached), depth + 1
        left = left[lengths[left] > depth]
    pieces = np.full(first, -1, np.int32)
    for end, number in zip(node.tolist(), ids, strict=True):
        pieces[end] = number
    pieces[0] = -1
    return Trie(np.concatenate([np.empty(0, np.int64), *edges]), pieces)


def to_letters(text: str) -> Letters:
    """Return the code points of a text."""
    return np.frombuffer(text.encode("utf-32-le"), "<u4").astype(np.int64)


def lay_out(words: Sequence[str]) -> tuple[Letters, Letters]:
    """Write words one after the other -> their letters, with BETWEEN behind each word, and the places of that."""
    letters = to_letters("\n".join([*words, ""]))
    ends = np.array([len(word) for word in words], np.int64).cumsum() + np.arange(len(words))
    letters[ends] = BETWEEN
    return letters, ends
