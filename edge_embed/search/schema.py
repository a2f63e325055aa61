"""The tables of an index and their version; opening the file, whatever it turns out to be."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

from edge_embed.errors import InputError, SearchIndexError

MEMORY = ":memory:"
APPLICATION = 0x45454958  # SQLite's application_id: "EEIX"
VERSION = 1  # SQLite's user_version
WAIT = 30.0  # seconds that a writer waits for another
# Ids of passages are never used twice, and their vectors never change: what was derived from an id stays true of it.
TABLES = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value ANY NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE root (path BLOB PRIMARY KEY) STRICT, WITHOUT ROWID;
CREATE TABLE source (
    id INTEGER PRIMARY KEY,
    kind TEXT NOT NULL CHECK (kind IN ('file', 'item')),
    key BLOB NOT NULL,
    size INTEGER,
    mtime_ns INTEGER,
    digest BLOB,
    time REAL NOT NULL,
    unit TEXT,
    fault TEXT,
    metadata TEXT,
    UNIQUE (kind, key)
) STRICT;
CREATE TABLE passage (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    source INTEGER NOT NULL REFERENCES source (id),
    start INTEGER NOT NULL,
    stop INTEGER NOT NULL,
    place INTEGER,
    text TEXT NOT NULL
) STRICT;
CREATE INDEX passage_source ON passage (source);
CREATE TABLE vector (id INTEGER PRIMARY KEY, scale REAL NOT NULL, codes BLOB NOT NULL) STRICT;
CREATE TABLE sign (id INTEGER PRIMARY KEY, bits BLOB NOT NULL) STRICT;
CREATE TABLE gone (id INTEGER PRIMARY KEY) STRICT;
CREATE VIRTUAL TABLE words USING fts5(
    text, content = 'passage', content_rowid = 'id', tokenize = 'unicode61 remove_diacritics 2'
);
"""


@contextmanager
def guarded(path: str) -> Iterator[None]:
    """Turn what SQLite raises into an error of ours that says what to do."""
    try:
        yield
    except sqlite3.OperationalError as error:
        code = getattr(error, "sqlite_errorcode", None) or 0
        if code & 0xFF in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
            raise SearchIndexError(
                f"{path}: another process has been writing to it for {WAIT:.0f} s; try later"
            ) from error
        if code & 0xFF == sqlite3.SQLITE_INTERRUPT:
            raise SearchIndexError(f"{path}: the search took too long and was ended; ask for less at a time") from error
        if code & 0xFF in (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR):
            raise InputError(f"cannot write {path}: {error}; what was written before is kept") from error
        if code & 0xFF in (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM):
            raise InputError(f"cannot open {path}: {error}; see its permissions and those of its folder") from error
        raise SearchIndexError(f"{path}: {error}; make the index anew") from error
    except (sqlite3.Error, OverflowError, UnicodeDecodeError) as error:  # the last of a message's own letters
        raise SearchIndexError(f"{path} is damaged, or no index: {error}; make the index anew") from error


def connect(path: str, create: bool, writes: bool = True) -> tuple[sqlite3.Connection, bool]:
    """Open an index's file -> the connection, and whether the file has tables already; without `writes` to read alone.

    Raises InputError for a path without a file where none is to be made, SearchIndexError for a file that is no index
    or one of another version.
    """
    if path != MEMORY:
        file = Path(path)
        if not create and not file.exists():
            raise InputError(f"there is no index {path}: make it with edge-embed index PATH... --index {path}")
        if file.is_dir():
            raise InputError(f"cannot open {path}: it is a folder; name a file in it, such as {file / 'search.db'}")
        if create:
            with contextlib.suppress(OSError):  # SQLite tells
                file.parent.mkdir(parents=True, exist_ok=True)
    with guarded(path):
        place, options = (path, {}) if writes else (f"{Path(path).absolute().as_uri()}?mode=ro", {"uri": True})
        connection = sqlite3.connect(place, WAIT, isolation_level=None, check_same_thread=False, **options)
        connection.text_factory = lambda data: data.decode("utf-8", "replace")
    try:
        return connection, _checked(connection, path)
    except BaseException:
        connection.close()
        raise


def _checked(connection: sqlite3.Connection, path: str) -> bool:
    with guarded(path):
        (application,), (version,), (tables,) = (
            connection.execute(query).fetchone()
            for query in ("PRAGMA application_id", "PRAGMA user_version", "SELECT count(*) FROM sqlite_master")
        )
        if tables and application != APPLICATION:
            raise SearchIndexError(
                f"{path} is a database of another program, which is left as it is: name another file"
            )
        if tables and version != VERSION:
            raise SearchIndexError(
                f"{path} is an index of version {version}, this release reads version {VERSION}: make it anew"
            )
        if tables and _own_tables(connection) != _expected():
            raise SearchIndexError(f"{path} is damaged: it has other tables than an index; make the index anew")
        connection.execute("PRAGMA trusted_schema = OFF")
        connection.execute("PRAGMA synchronous = NORMAL")
        connection.execute("PRAGMA cache_size = -16384")
        return bool(tables)


def _own_tables(connection: sqlite3.Connection) -> set[tuple[str, str, str]]:
    """Read how tables were made, but for those that SQLite makes itself; a view or a trigger would be none of ours."""
    query = (
        "SELECT type, name, sql FROM sqlite_master WHERE type NOT IN ('table', 'index') "
        "OR (name NOT LIKE 'sqlite_%' AND name NOT LIKE 'words_%')"
    )
    return {*connection.execute(query)}


@cache
def _expected() -> set[tuple[str, str, str]]:
    with contextlib.closing(sqlite3.connect(":memory:")) as connection:
        create_tables(connection)
        return _own_tables(connection)


def create_tables(connection: sqlite3.Connection) -> None:
    """Make the tables, within the transaction that is under way."""
    for statement in TABLES.split(";\n"):
        if statement.strip():
            connection.execute(statement)
    connection.execute(f"PRAGMA application_id = {APPLICATION}")
    connection.execute(f"PRAGMA user_version = {VERSION}")
