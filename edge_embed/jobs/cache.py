"""Vectors that were computed before, by any job, in one SQLite file that several processes may use at a time."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from edge_embed.errors import InputError

WAIT = 60.0  # seconds for another process's transaction
AT_ONCE = 500  # keys of a query; SQLite takes at least 999


class Cache:
    """Map the hash of a model, its options and a text to the bytes of its vector."""

    def __init__(self, path: Path) -> None:
        self._path = path
        with self._told():
            self._base = sqlite3.connect(path, timeout=WAIT, isolation_level=None, check_same_thread=False)
            self._base.execute("PRAGMA journal_mode=WAL")
            self._base.execute("PRAGMA synchronous=NORMAL")
            self._base.execute("CREATE TABLE IF NOT EXISTS vector (key BLOB PRIMARY KEY, data BLOB) WITHOUT ROWID")

    def find(self, keys: Sequence[bytes]) -> dict[bytes, bytes]:
        """Return the vectors of those keys that are known."""
        found: dict[bytes, bytes] = {}
        with self._told():
            for start in range(0, len(keys), AT_ONCE):
                some = keys[start : start + AT_ONCE]
                marks = ",".join("?" * len(some))
                found.update(self._base.execute(f"SELECT key, data FROM vector WHERE key IN ({marks})", some))
        return found

    def add(self, vectors: Mapping[bytes, bytes]) -> None:
        """Add vectors, all of them or none."""
        with self._told():
            self._base.execute("BEGIN IMMEDIATE")
            try:
                self._base.executemany("INSERT OR IGNORE INTO vector VALUES (?, ?)", vectors.items())
                self._base.execute("COMMIT")
            except BaseException:
                self._base.execute("ROLLBACK")
                raise

    def close(self) -> None:
        """Close the file."""
        self._base.close()

    @contextlib.contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise InputError(f"the cache {self._path} cannot be used: {error}; name another file, or none") from error
