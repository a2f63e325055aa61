"""The words of a query in the full-text index: BM25, and passages that hold the query letter for letter."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Mapping, Sequence

from .filters import Filters
from .frequency import COUNTED, expression, quoted
from .meta import last_passage

MOST_WORDS = 32  # of a query that are looked up
LITERAL = 500  # passages that may be put first since they hold the query itself
SMALL, SHORT = 100_000, 4  # passages above which words of fewer letters are not the beginning of others
WORD = re.compile(r"[^\W_]+")


def words_in(query: str) -> list[str]:
    """List a query's words, each once."""
    return list(dict.fromkeys(word.casefold() for word in WORD.findall(query)))[:MOST_WORDS]


def all_words(text: str) -> set[str]:
    """Return the words of a text, as `words_in` writes them."""
    return {word.casefold() for word in WORD.findall(text)}


def literal_in(query: str) -> str | None:
    """Return what is to be found letter for letter: what is quoted, or a query that is no single plain word."""
    text = query.strip()
    if len(text) > 2 and text[0] == text[-1] == '"':
        return text[1:-1].strip() or None
    return None if not text or text.isalpha() else text


def by_words(
    connection: sqlite3.Connection, counts: Mapping[str, int], count: int, filters: Filters, near: Sequence[int]
) -> list[int]:
    """Return the ids of passages with any of a query's words, of known frequency, the best by BM25 first.

    Where all the words are frequent, those of `near` that have most of them come first, and no others.
    """
    match = expression(connection, counts)
    if match is None:
        texts = texts_of(connection, near)
        held = {id: len(counts.keys() & all_words(texts.get(id, ""))) for id in near}
        return sorted(filter(held.__getitem__, near), key=lambda id: -held[id])
    return _match(connection, match, filters, "rank", count) if match else []


def by_letters(
    connection: sqlite3.Connection, query: str, counts: Mapping[str, int], filters: Filters, near: Sequence[int]
) -> list[int]:
    """Return the ids of passages that hold the query's letters, in upper or lower case, from a word's beginning on.

    The last word may be the beginning of one: in a large index only if it is no short one, with which too many begin.
    Where all the words are frequent, only `near` is read.
    """
    literal = literal_in(query)
    words = WORD.findall(literal or "")
    if literal is None or not words:
        return []
    found = near
    if min(counts.get(word.casefold(), 0) for word in words) <= COUNTED:
        open_end = len(words[-1]) >= SHORT or last_passage(connection) < SMALL
        match = quoted(" ".join(words)) + " *" * open_end
        found = _match(connection, match, filters, "rowid DESC", LITERAL)  # to know the best all would have to be read
    texts = texts_of(connection, found)
    return [id for id in found if literal.casefold() in texts.get(id, "").casefold()]


def texts_of(connection: sqlite3.Connection, ids: Sequence[int]) -> dict[int, str]:
    """Read passages' texts."""
    marks = ",".join("?" * len(ids))
    return dict(connection.execute(f"SELECT id, CAST(text AS TEXT) FROM passage WHERE id IN ({marks})", ids))


def _match(connection: sqlite3.Connection, match: str, filters: Filters, order: str, count: int) -> list[int]:
    joined = "JOIN passage AS p ON p.id = w.rowid JOIN source AS s ON s.id = p.source" if filters.conditions else ""
    query = f"SELECT w.rowid FROM words AS w {joined} WHERE words MATCH ?{filters.sql} ORDER BY w.{order} LIMIT ?"
    return [id for (id,) in connection.execute(query, (match, *filters.values, count))]
