"""The words of a query in the full-text index: BM25, and passages that hold the query letter for letter."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Sequence

from .filters import Filters

MOST_WORDS = 32  # of a query that are looked up
LITERAL = 50  # passages that may be put first since they hold the query itself
SMALL = 10_000  # passages of which all may be ranked
SAMPLE, MANY = 1000, 0.2  # the last passages, and the share of them that has a word which tells little
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


def by_words(connection: sqlite3.Connection, query: str, count: int, filters: Filters) -> list[int]:
    """Return the ids of passages with any of the query's words, the best by BM25 first."""
    words = _telling(connection, words_in(query))
    return _match(connection, " OR ".join(f'"{word}"' for word in words), count, filters) if words else []


def _telling(connection: sqlite3.Connection, words: list[str]) -> list[str]:
    """Leave out words that many passages have, which tell little and take nearly all of the time; keep one at least."""
    (last,) = connection.execute("SELECT coalesce(max(id), 0) FROM passage").fetchone()
    if last < SMALL or len(words) < 2:
        return words
    query = "SELECT count(*) FROM words WHERE words MATCH ? AND rowid > ?"
    counts = {word: connection.execute(query, (f'"{word}"', last - SAMPLE)).fetchone()[0] for word in words}
    return [word for word in words if counts[word] <= MANY * SAMPLE] or [min(words, key=lambda word: counts[word])]


def by_letters(connection: sqlite3.Connection, query: str, filters: Filters) -> list[int]:
    """Return the ids of passages that hold the query's letters, in upper or lower case, from a word's beginning on."""
    literal = literal_in(query)
    words = WORD.findall(literal or "")
    if literal is None or not words:
        return []
    found = _match(connection, f'"{" ".join(words)}" *', LITERAL, filters)
    texts = texts_of(connection, found)
    return [id for id in found if literal.casefold() in texts.get(id, "").casefold()]


def texts_of(connection: sqlite3.Connection, ids: Sequence[int]) -> dict[int, str]:
    """Read passages' texts."""
    marks = ",".join("?" * len(ids))
    return dict(connection.execute(f"SELECT id, CAST(text AS TEXT) FROM passage WHERE id IN ({marks})", ids))


def _match(connection: sqlite3.Connection, expression: str, count: int, filters: Filters) -> list[int]:
    if not filters.conditions:
        query = "SELECT rowid FROM words WHERE words MATCH ? ORDER BY rank LIMIT ?"
        return [id for (id,) in connection.execute(query, (expression, count))]
    query = (
        "SELECT w.rowid FROM words AS w JOIN passage AS p ON p.id = w.rowid JOIN source AS s ON s.id = p.source "
        f"WHERE words MATCH ?{filters.sql} ORDER BY w.rank LIMIT ?"
    )
    return [id for (id,) in connection.execute(query, (expression, *filters.values, count))]
