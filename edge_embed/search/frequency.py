"""Which passages BM25 is to rank for a query: so few that a search stays fast in an index of a million."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Mapping, Sequence

RANKED = 20_000  # passages, at one to two microseconds each
COUNTED = 10 * RANKED  # passages whose words count for those that are ranked, at a twentieth of that


def count_words(connection: sqlite3.Connection, words: Iterable[str]) -> dict[str, int]:
    """Return how many passages have each word; of a frequent one that is reckoned from the share among the first."""
    return {word: _passages_with(connection, word) for word in words}


def expression(connection: sqlite3.Connection, counts: Mapping[str, int]) -> str | None:
    """Return what the full-text index is asked: "" for nothing, None where every word stands in too many passages.

    It is any of the words where few passages have one. Else it is the rarest of them, the others only adding to the
    scores of what these find; or the rarer ones together, where each by itself is frequent.
    """
    order = sorted(filter(counts.__getitem__, counts), key=counts.__getitem__)
    rare, known = _within(order, counts, RANKED), _within(order, counts, COUNTED)
    if len(rare) == len(order):
        return _any(order)
    if rare:
        return f"({_any(rare)}) AND ({_any(known)})"
    together = " AND ".join(map(quoted, known))
    return together if len(known) > 1 and 0 < _count(connection, together)[0] <= RANKED else None


def quoted(word: str) -> str:
    """Write a word so that it means itself to FTS5."""
    return f'"{word}"'


def _any(words: Sequence[str]) -> str:
    return " OR ".join(map(quoted, words))


def _within(order: Sequence[str], counts: Mapping[str, int], most: int) -> list[str]:
    """Return the first words that together stand in no more passages than that."""
    total, found = 0, []
    for word in order:
        total += counts[word]
        if total > most:
            break
        found.append(word)
    return found


def _passages_with(connection: sqlite3.Connection, word: str) -> int:
    count, last = _count(connection, quoted(word))
    if count <= RANKED:
        return count
    (highest,) = connection.execute("SELECT max(id) FROM passage").fetchone()
    return round(count * max(1.0, (highest or 0) / last))


def _count(connection: sqlite3.Connection, match: str) -> tuple[int, int]:
    """Count what matches, but for one more than are ranked no further; and say where the last one stands."""
    query = "SELECT count(*), max(rowid) FROM (SELECT rowid FROM words WHERE words MATCH ? LIMIT ?)"
    count, last = connection.execute(query, (match, RANKED + 1)).fetchone()
    return count, max(1, last or 0)
