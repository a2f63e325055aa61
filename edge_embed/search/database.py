"""One index's file, open: what is known of it, what goes in and out, one transaction at a time."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

from edge_embed.errors import SearchIndexError

from . import store
from .coding import Coded
from .filters import Filters
from .hits import SearchHit
from .meta import Meta
from .query import Query, answer
from .scan import Scanner, is_stale
from .schema import MEMORY, guarded
from .store import Passage, Source

Entry = tuple[Source, Sequence[Passage], Sequence[Coded]]


class Known(NamedTuple):
    """What the index says of a file."""

    number: int
    size: int
    mtime_ns: int
    digest: bytes | None
    fault: str | None


class Database:
    """A connection with a lock, so that threads take turns; processes do by SQLite's own.

    Without `writes` the derived file is read, and never written.
    """

    def __init__(self, path: str, connection: sqlite3.Connection, meta: Meta, writes: bool = True) -> None:
        self.path, self.meta = path, meta
        self._connection = connection
        self._lock = threading.RLock()
        self._scanner = Scanner(path, meta, writes)

    def rows(self, query: str, *values: object) -> list[tuple[Any, ...]]:
        """Return what a query finds."""
        with self._lock, guarded(self.path):
            return self._connection.execute(query, values).fetchall()

    def put(self, entries: Iterable[Entry], roots: Collection[bytes] = ()) -> None:
        """Put sources in, each in place of one with its key: all of them, or none."""
        with self._lock, store.writing(self._connection, self.path):
            self._connection.executemany("INSERT OR IGNORE INTO root VALUES (?)", ((root,) for root in roots))
            for source, passages, coded in entries:
                store.replace(self._connection, source, passages, coded)

    def touch(self, source: Source) -> None:
        """Note a file's new times, whose content is the same."""
        with self._lock, store.writing(self._connection, self.path):
            store.touch(self._connection, source)

    def remove(self, numbers: Iterable[int], roots: Collection[bytes] = ()) -> None:
        """Remove sources by number, and folders that are no longer to be looked into."""
        with self._lock, store.writing(self._connection, self.path):
            self._connection.executemany("DELETE FROM root WHERE path = ?", ((root,) for root in roots))
            store.remove(self._connection, numbers)

    def tidy(self) -> None:
        """Write the derived file anew if it is time to."""
        with self._lock, guarded(self.path):
            if is_stale(self._connection):
                with store.writing(self._connection, self.path):
                    self._scanner.compact(self._connection)

    def compact(self) -> None:
        """Give back the room of what was removed, and write the derived file anew."""
        with self._lock:
            with store.writing(self._connection, self.path):
                self._scanner.compact(self._connection, anew=True)
                self._connection.execute("INSERT INTO words (words) VALUES ('optimize')")
            with guarded(self.path):
                self._connection.execute("VACUUM")
                self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    def answer(self, query: Query) -> list[SearchHit]:
        """Search the index as it is now."""
        with self._lock, store.reading(self._connection, self.path):
            self._scanner.refresh(self._connection)
            return answer(self._connection, self._scanner, self.meta, query)

    def known_files(self) -> dict[bytes, Known]:
        """Return what is known of every file, by its path."""
        query = "SELECT CAST(key AS BLOB), id, size, mtime_ns, digest, fault FROM source WHERE kind = 'file'"
        return {key: Known(*facts) for key, *facts in self.rows(query)}

    def files_under(self, path: bytes) -> set[int]:
        """Return the numbers of a file, or of those in a folder."""
        # Of the letters that may follow a folder's name `/` is the one before `0`.
        query = "SELECT id FROM source WHERE kind = 'file' AND (key = ? OR (key > ? AND key < ?))"
        return {number for (number,) in self.rows(query, path, path.rstrip(b"/") + b"/", path.rstrip(b"/") + b"0")}

    def items(self, keys: Iterable[bytes]) -> set[int]:
        """Return the numbers of those items that are there."""
        query = "SELECT id FROM source WHERE kind = 'item' AND key = ?"
        return {number for key in keys for (number,) in self.rows(query, key)}

    def sources(self, filters: Filters) -> set[int]:
        """Return the numbers of the sources that filters leave."""
        found = self.rows(f"SELECT s.id FROM source AS s WHERE 1{filters.sql}", *filters.values)
        return {number for (number,) in found}

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Keep other processes from bringing the same index up to date; raise SearchIndexError where one does."""
        if self.path == MEMORY:
            yield
            return
        from filelock import FileLock, Timeout

        try:
            with FileLock(f"{self.path}-lock", timeout=0):
                yield
        except Timeout as error:
            raise SearchIndexError(f"{self.path} is brought up to date by another process: wait for it") from error

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._connection.close()
