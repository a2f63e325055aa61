"""The passages nearest to a query by their signs: the mapped columns, the rows since, less those that are gone."""

from __future__ import annotations

import sqlite3
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_embed.vectors import differing, nearest

from . import signs as signs_file
from .meta import Meta, last_passage, read_number
from .schema import MEMORY
from .signs import Signs

TAIL = 4096  # passages that are added before the columns are written anew, or a share of those that are there
SHARE = 0.05
GONE = 0.25  # of the passages: then the columns are written anew without them
FEW = 4  # where filters leave less than one in so many, only those are compared


def is_stale(connection: sqlite3.Connection) -> bool:
    """Whether so much has come or gone since the columns were written that it is time to do so again."""
    columns, covered = (read_number(connection, name) for name in ("columns", "covered"))
    if last_passage(connection) - covered > max(TAIL, SHARE * columns):
        return True
    (gone,) = connection.execute("SELECT count(*) FROM gone").fetchone()
    return bool(gone > max(TAIL, GONE * columns))


class Scanner:
    """What one reader knows of the signs; `refresh` brings it up to the transaction that is under way."""

    def __init__(self, path: str, meta: Meta, writes: bool = True) -> None:
        self._path, self._meta, self._writes = path, meta, writes
        self._stamp: tuple[int, int] | None = None
        self._base: Signs | None = None
        self._tail = Signs(0, np.empty(0, np.int64), np.empty((0, 0), np.uint64))
        self._dead: list[NDArray[np.intp]] = []  # rows of the columns and of the tail

    def refresh(self, connection: sqlite3.Connection) -> None:
        """Read what has changed since; within a transaction that reads."""
        stamp = (connection.execute("PRAGMA data_version").fetchone()[0], connection.total_changes)
        if stamp == self._stamp:
            return
        generation = read_number(connection, "generation")
        if self._base is None or self._base.generation != generation:
            self._use(self._open(connection, generation))
        assert self._base is not None
        # Ids only grow, and what belongs to one never changes: rows that were read once stay right.
        newer = "SELECT id, bits FROM sign WHERE id > ? ORDER BY id"
        rows = connection.execute(newer, (max(self._base.covered, self._tail.covered),)).fetchall()
        ids = np.array([id for id, _ in rows], np.int64)
        added = signs_file.laid_out([bits for _, bits in rows], self._meta.bits)
        self._tail = self._tail.followed_by(Signs(generation, ids, added))
        gone = np.array(connection.execute("SELECT id FROM gone ORDER BY id").fetchall(), np.int64).reshape(-1)
        self._dead = [_rows_of(part.ids, gone) for part in (self._base, self._tail)]
        self._stamp = stamp

    @property
    def count(self) -> int:
        """Passages that are compared."""
        return (len(self._base.ids) if self._base else 0) + len(self._tail.ids)

    def _use(self, base: Signs) -> None:
        empty = Signs(base.generation, base.ids[:0], base.words[:, :0])
        self._base, self._tail, self._stamp = base, empty, None

    def _open(self, connection: sqlite3.Connection, generation: int) -> Signs:
        if self._path == MEMORY:
            return signs_file.build(connection, self._meta, generation)
        found = signs_file.read(connection, self._path, self._meta, generation)
        if found is None:
            found = signs_file.build(connection, self._meta, generation)
            if self._writes and len(found.ids) > TAIL:  # fewer are read as quickly from the database
                signs_file.write(found, self._path, self._meta)
        return found

    def compact(self, connection: sqlite3.Connection, anew: bool = False) -> None:
        """Write the columns in a new generation; within a transaction that writes.

        They are the former ones with what has come since, or, `anew`, are gathered from the database. A kill before
        the end leaves a file of a generation that the database does not have: it is made again.
        """
        generation = read_number(connection, "generation") + 1
        if anew:
            made = signs_file.build(connection, self._meta, generation)
        else:
            self.refresh(connection)
            assert self._base is not None
            parts = zip((self._base, self._tail), self._dead, strict=True)
            base, tail = (part.without(dead, generation) for part, dead in parts)
            made = base.followed_by(tail)
        if self._path != MEMORY and not signs_file.write(made, self._path, self._meta):
            return
        connection.execute("DELETE FROM gone")
        numbers = {"generation": generation, "covered": made.covered, "columns": len(made.ids)}
        connection.executemany("INSERT OR REPLACE INTO meta VALUES (?, ?)", numbers.items())
        self._use(made)

    def nearest(
        self, query: NDArray[np.uint64], count: int, allowed: NDArray[np.int64] | None = None
    ) -> NDArray[np.int64]:
        """Return the ids of `count` passages whose signs differ least from a query's; of `allowed` ones, ascending."""
        assert self._base is not None
        parts = [
            _nearest(query, signs, dead, allowed, count)
            for signs, dead in zip((self._base, self._tail), self._dead, strict=True)
        ]
        ids, distances = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
        order = np.lexsort((ids, distances))[:count]
        best: NDArray[np.int64] = ids[order]
        return best


def _nearest(
    query: NDArray[np.uint64],
    signs: Signs,
    dead: NDArray[np.intp],
    allowed: NDArray[np.int64] | None,
    count: int,
) -> tuple[NDArray[np.int64], NDArray[Any]]:
    """Return the ids of `count` rows that may be found, and in how many bits each differs."""
    if allowed is not None:
        rows = np.setdiff1d(_rows_of(signs.ids, allowed), dead, assume_unique=True)
        few = len(rows) * FEW < len(signs.ids)
        distances = differing(query, signs.words[:, rows]) if few else differing(query, signs.words)[rows]
        best = nearest(distances, count)
        return signs.ids[rows[best]], distances[best]
    distances = differing(query, signs.words)
    distances[dead] = np.iinfo(distances.dtype).max
    best = nearest(distances, count)
    best = best[distances[best] < np.iinfo(distances.dtype).max]
    return signs.ids[best], distances[best]


def _rows_of(ids: NDArray[np.int64], wanted: NDArray[np.int64]) -> NDArray[np.intp]:
    """Return the rows of those ids that are there; both ascend."""
    rows = np.searchsorted(ids, wanted)
    rows = rows[rows < len(ids)] if len(ids) else rows[:0]
    found: NDArray[np.intp] = rows[ids[rows] == wanted[: len(rows)]]
    return found
