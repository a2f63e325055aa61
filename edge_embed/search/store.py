"""Writing an index: a source with its passages goes in, or out, as a whole."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal, NamedTuple

from .coding import Coded
from .schema import guarded

Kind = Literal["file", "item"]
Unit = Literal["line", "page"]


class Passage(NamedTuple):
    """A piece of a source's text: its first letter and the one after its last, the line or page it begins on."""

    start: int
    stop: int
    place: int | None
    text: str


@dataclass(frozen=True, kw_only=True)
class Source:
    """A file or an item: its key, a path's bytes or an id; when it was changed; why it has no passages, if so."""

    kind: Kind
    key: bytes
    time: float
    size: int | None = None
    mtime_ns: int | None = None
    digest: bytes | None = None
    unit: Unit | None = None
    fault: str | None = None
    metadata: str | None = None


@contextmanager
def writing(connection: sqlite3.Connection, path: str) -> Iterator[None]:
    """One transaction that writes, begun when no other one is under way: all of it is kept, or nothing."""
    with guarded(path):
        connection.execute("BEGIN IMMEDIATE")
        try:
            yield
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise


@contextmanager
def reading(connection: sqlite3.Connection, path: str) -> Iterator[None]:
    """See the index as it is at one moment, whatever others write meanwhile."""
    with guarded(path):
        connection.execute("BEGIN")
        try:
            yield
        finally:
            if connection.in_transaction:
                connection.execute("ROLLBACK")


def replace(
    connection: sqlite3.Connection, source: Source, passages: Sequence[Passage], vectors: Sequence[Coded]
) -> None:
    """Put a source with its passages in place of what was there under its key; within a transaction that writes."""
    old = connection.execute("SELECT id FROM source WHERE kind = ? AND key = ?", (source.kind, source.key)).fetchone()
    if old is not None:
        _remove_passages(connection, [old[0]])
    values = (
        source.size,
        source.mtime_ns,
        source.digest,
        source.time,
        source.unit,
        source.fault,
        source.metadata,
    )
    columns = "size, mtime_ns, digest, time, unit, fault, metadata"
    if old is None:
        cursor = connection.execute(
            f"INSERT INTO source (kind, key, {columns}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (source.kind, source.key, *values),
        )
        number = cursor.lastrowid
    else:
        number = old[0]
        connection.execute(
            "UPDATE source SET size = ?, mtime_ns = ?, digest = ?, time = ?, unit = ?, fault = ?, metadata = ? "
            "WHERE id = ?",
            (*values, number),
        )
    for passage, coded in zip(passages, vectors, strict=True):
        cursor = connection.execute(
            "INSERT INTO passage (source, start, stop, place, text) VALUES (?, ?, ?, ?, ?)", (number, *passage)
        )
        at = cursor.lastrowid
        connection.execute("INSERT INTO vector VALUES (?, ?, ?)", (at, coded.scale, coded.codes))
        connection.execute("INSERT INTO sign VALUES (?, ?)", (at, coded.bits))
        connection.execute("INSERT INTO words (rowid, text) VALUES (?, ?)", (at, passage.text))


def touch(connection: sqlite3.Connection, source: Source) -> None:
    """Note a file's new times, whose content is the same."""
    connection.execute(
        "UPDATE source SET size = ?, mtime_ns = ?, time = ? WHERE kind = ? AND key = ?",
        (source.size, source.mtime_ns, source.time, source.kind, source.key),
    )


def remove(connection: sqlite3.Connection, numbers: Iterable[int]) -> None:
    """Remove sources by their numbers; within a transaction that writes."""
    numbers = list(numbers)
    _remove_passages(connection, numbers)
    connection.executemany("DELETE FROM source WHERE id = ?", ((number,) for number in numbers))


def _remove_passages(connection: sqlite3.Connection, numbers: Sequence[int]) -> None:
    for number in numbers:
        rows = connection.execute("SELECT id, text FROM passage WHERE source = ?", (number,)).fetchall()
        ids = [(id,) for id, _ in rows]
        connection.executemany("INSERT INTO words (words, rowid, text) VALUES ('delete', ?, ?)", rows)
        for table in ("vector", "sign", "passage"):
            connection.executemany(f"DELETE FROM {table} WHERE id = ?", ids)
        connection.executemany("INSERT INTO gone VALUES (?)", ids)


def metadata_text(metadata: object) -> str:
    """Write an item's metadata; raises TypeError or ValueError for what is no JSON."""
    return json.dumps(metadata, ensure_ascii=False, allow_nan=False, sort_keys=True)
