"""An index that is only searched: never written to, opened anew where its file is another, no search without end."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edge_embed.errors import InputError, SearchIndexError

from .database import Database
from .filters import Filters
from .hits import SearchHit
from .meta import Meta, read_meta
from .query import Query, check_top
from .schema import connect, guarded

LONGEST = 10.0  # seconds of one search, of which 10^6 passages take a tenth
STEPS = 10_000  # of SQLite's machine, between two looks at the clock
Identity = tuple[int, int]  # device and number of a file


@dataclass(frozen=True, kw_only=True)
class Question:
    """What is asked for beside the vector; `text` counts by its words too, and None does not; see Index.search."""

    text: str | None
    top: int
    filters: Filters
    least: float | None


class Reader:
    """An index's file, searched by one thread at a time; raises InputError or SearchIndexError where it cannot be."""

    def __init__(self, path: Path, longest: float = LONGEST) -> None:
        self.path, self._longest = Path(os.path.abspath(path)), longest
        self._lock = threading.Lock()
        self._open: tuple[Identity, Database] | None = None
        self._deadline = 0.0
        self.meta = self._read_meta()

    def search(self, vector: NDArray[np.float32], question: Question) -> tuple[list[SearchHit], Meta]:
        """Find what fits a vector (dims,) and its text best -> the hits, and the meta of the index as it is now."""
        check_top(question.top)
        with self._opened() as database:
            meta = database.meta
            if vector.shape != (meta.dims,):
                raise SearchIndexError(f"{self.path} was made anew, with vectors of {meta.dims} numbers: ask again")
            least = meta.reference if question.least is None else question.least
            query = Query(vector=vector, text=question.text, top=question.top, filters=question.filters, least=least)
            return database.answer(query), meta

    def passages(self) -> int:
        """Count the passages."""
        with self._opened() as database:
            ((count,),) = database.rows("SELECT count(*) FROM passage")
            return int(count)

    def close(self) -> None:
        """Close the file, when a search that runs is done."""
        with self._lock:
            self._forget()

    def _read_meta(self) -> Meta:
        with self._opened() as database:
            return database.meta

    @contextlib.contextmanager
    def _opened(self) -> Iterator[Database]:
        """Hold the file that the path names now; what fails is opened anew the next time."""
        with self._lock:
            self._deadline = time.monotonic() + self._longest
            try:
                yield self._current()
            except (InputError, SearchIndexError):
                self._forget()
                raise

    def _current(self) -> Database:
        try:
            found = self.path.stat()
        except OSError as error:
            raise InputError(f"there is no index {self.path}: make it with edge-embed index") from error
        identity = (found.st_dev, found.st_ino)
        if self._open is None or self._open[0] != identity:
            self._forget()
            self._open = identity, self._connect()
            self.meta = self._open[1].meta
        return self._open[1]

    def _connect(self) -> Database:
        connection, exists = connect(str(self.path), create=False, writes=False)
        try:
            if not exists:
                raise SearchIndexError(f"{self.path} is empty: make the index anew")
            connection.set_progress_handler(self._too_late, STEPS)
            with guarded(str(self.path)):
                connection.execute(f"PRAGMA busy_timeout = {1000 * self._longest:.0f}")
                return Database(str(self.path), connection, read_meta(connection, str(self.path)), writes=False)
        except BaseException:
            connection.close()
            raise

    def _too_late(self) -> bool:
        return time.monotonic() > self._deadline

    def _forget(self) -> None:
        if self._open is not None:
            with contextlib.suppress(sqlite3.Error):
                self._open[1].close()
            self._open = None
