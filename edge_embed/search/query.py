"""A query -> hits: signs find candidates, int8 codes order them, words join in, what is like nothing is left out."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edge_embed.errors import InputError

from .coding import decode, words_of
from .filters import Filters
from .frequency import count_words
from .hits import SearchHit, read_hits
from .meta import Meta
from .scan import Scanner
from .words import all_words, by_letters, by_words, texts_of, words_in

LEAST, MOST, EACH = 100, 400, 10  # candidates: so many for each hit that is asked for, within bounds
ENOUGH = 256  # bits that tell passages well apart: the fewer there are, the more candidates
CROWDED, CROWD = 125_000, 8  # passages from whose double on there are more candidates, too, and how many times as many
IDS = 10_000  # that one statement of SQL takes
BY_WORDS = 100  # passages that BM25 gives
RANK = 60  # of reciprocal rank fusion (Cormack et al. 2009): how little the first ranks stand out

MOST_HITS = 1000


def check_top(top: int) -> None:
    """Raise InputError for so many hits as nobody is given."""
    if not 1 <= top <= MOST_HITS:
        raise InputError(f"top={top} must be from 1 to {MOST_HITS}")


@dataclass(frozen=True, kw_only=True)
class Query:
    """What is asked for: a vector (dims,) of any length, its text if it has one, how many hits, what they are of.

    `least` is the cosine under which a passage fits nothing, unless it has the query's words.
    """

    vector: NDArray[np.float32]
    text: str | None
    top: int
    filters: Filters
    least: float


def answer(connection: sqlite3.Connection, scanner: Scanner, meta: Meta, query: Query) -> list[SearchHit]:
    """Search, within a transaction that reads and for which the scanner is refreshed."""
    allowed = _allowed(connection, query)
    compared = scanner.count if allowed is None else len(allowed)
    count = min(max(LEAST, EACH * query.top), max(MOST, query.top)) * max(1, ENOUGH // meta.dims)
    count *= min(max(1, compared // CROWDED), CROWD)
    near = scanner.nearest(words_of(query.vector), count, allowed).tolist()
    scores = cosines(connection, query.vector, near, meta.dims)
    by_vector = sorted(scores, key=lambda id: -scores[id])
    worded: list[int] = []
    literal: list[int] = []
    if query.text is not None:
        counts = count_words(connection, words_in(query.text))
        worded = by_words(connection, counts, max(BY_WORDS, query.top), query.filters, by_vector[:MOST])
        literal = by_letters(connection, query.text, counts, query.filters, by_vector[:MOST])
        scores |= cosines(connection, query.vector, {*worded, *literal} - scores.keys(), meta.dims)
    fused = fuse([by_vector, worded])
    first = frozenset(literal)
    order = sorted({*fused, *first}, key=lambda id: (id not in first, -fused.get(id, 0.0), -scores.get(id, 0.0), id))
    fitting = _fitting(connection, query, [id for id in order if id in scores], scores, first)
    return read_hits(connection, fitting, scores, first)


def _allowed(connection: sqlite3.Connection, query: Query) -> NDArray[np.int64] | None:
    if not query.filters.conditions:
        return None
    rows = connection.execute(
        f"SELECT p.id FROM source AS s JOIN passage AS p ON p.source = s.id WHERE 1{query.filters.sql}",
        query.filters.values,
    )
    return np.sort(np.fromiter((id for (id,) in rows), np.int64))


def cosines(
    connection: sqlite3.Connection, vector: NDArray[np.float32], ids: Iterable[int], dims: int
) -> dict[int, float]:
    """Compare a query with passages by their int8 codes; ids that are not there are left out."""
    wanted = list(ids)
    length = float(np.linalg.norm(vector)) or 1.0
    scores: dict[int, float] = {}
    for start in range(0, len(wanted), IDS):
        part = wanted[start : start + IDS]
        marks = ",".join("?" * len(part))
        rows = connection.execute(f"SELECT id, scale, codes FROM vector WHERE id IN ({marks})", part).fetchall()
        found = decode([(scale, codes) for _, scale, codes in rows], dims) @ (vector / length)
        scores |= {id: float(score) for (id, _, _), score in zip(rows, found, strict=True)}
    return scores


def fuse(rankings: Sequence[Sequence[int]]) -> dict[int, float]:
    """Add up 1 / (60 + rank) over the rankings that an id stands in."""
    sums: dict[int, float] = {}
    for ranking in rankings:
        for rank, id in enumerate(ranking, 1):
            sums[id] = sums.get(id, 0.0) + 1 / (RANK + rank)
    return sums


def _fitting(
    connection: sqlite3.Connection,
    query: Query,
    order: Sequence[int],
    scores: dict[int, float],
    literal: frozenset[int],
) -> list[int]:
    """Return the first of those that fit: leave out what is no nearer than unrelated texts, unless it has all words."""
    words = {*words_in(query.text or "")}
    found: list[int] = []
    for id in order:
        near = scores[id] >= query.least or id in literal
        if near or (words and words <= all_words(texts_of(connection, [id]).get(id, ""))):
            found.append(id)
        if len(found) == query.top:
            break
    return found
