"""Files of lines: a text a line, or a JSON object a line -> records by byte range -> rows."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from edge_embed.errors import InputError, listing

from .row import LONGEST, Columns, Fault, Input, Row
from .stream import BOM, Stream

SCALARS = (str, int, float, bool, type(None))
TOO_LONG = Fault("too-long", f"it is longer than {LONGEST:,} bytes")


class Record(NamedTuple):
    """What one row is made of: its first line, where its bytes begin, the line after it, its content as it stands."""

    line: int
    start: int
    following: int
    content: Any  # bytes of a line, fields of a table, or a Fault


def nothing(data: bytes) -> None:
    """Take bytes that nobody asks for."""


class TextLines:
    """A file in which each line is a text, empty ones too, so that vectors and lines have the same numbers."""

    def __init__(self, path: Path, columns: Columns) -> None:
        if columns.text or columns.id:
            raise InputError(f"{path} has lines and no columns: leave column and id_column out")
        self.path, self.stream = path, Stream(path)

    def begin(self) -> tuple[int, int]:
        """Return the byte and the line at which rows begin."""
        return 0, 1

    def records(
        self, start: int, stop: int | None, line: int, seen: Callable[[bytes], object] = nothing
    ) -> Iterator[Record]:
        """Yield the records from byte `start`, which is on line `line`; `seen` gets every byte."""
        for number, (offset, _, data) in enumerate(self.stream.lines(start, stop, seen), line):
            if data is not None and offset == 0:
                data = data.removeprefix(BOM)
            if data is None or self.is_row(data):
                yield Record(number, offset, number + 1, TOO_LONG if data is None else data)

    def is_row(self, data: bytes) -> bool:
        """Whether a line is a row; in a file of texts every line is."""
        return True

    def row(self, record: Record) -> Row:
        """Return a record as a row."""
        if isinstance(record.content, Fault):
            return Row(record.line, record.start, fault=record.content)
        try:
            text = record.content.decode()
        except UnicodeDecodeError as error:
            fault = Fault("encoding", f"it is not UTF-8: byte 0x{record.content[error.start]:02x} at {error.start}")
            return Row(record.line, record.start, fault=fault)
        return self.parsed(record, text)

    def parsed(self, record: Record, text: str) -> Row:
        """Make a row of a decoded line."""
        return Row(record.line, record.start, text.rstrip("\r\n"))

    def check(self) -> None:
        """Raise InputError before any work where the columns that were asked for are not there."""

    def close(self) -> None:
        """Close the file."""
        self.stream.close()


class JsonLines(TextLines):
    """A file with a JSON object a line; blank lines are none."""

    def __init__(self, path: Path, columns: Columns) -> None:
        self.path, self.stream, self.columns = path, Stream(path), columns

    def is_row(self, data: bytes) -> bool:
        """Whether a line is not blank."""
        return not data.isspace()

    def check(self) -> None:
        """Raise InputError where the first object lacks a column that was asked for by name."""
        record = next(self.records(*self.begin()[:1], None, 1), None)
        if record is None or isinstance(record.content, Fault):
            return
        try:
            value = json.loads(record.content)
        except (ValueError, RecursionError):
            return
        for name in (self.columns.text, self.columns.id):
            if name is not None and isinstance(value, dict) and name not in value:
                raise InputError(f"{self.path} has no column {name!r}: its first object has {listing(value)}")

    def parsed(self, record: Record, text: str) -> Row:
        """Read the text or the image, and the id, of an object."""
        try:
            value = json.loads(text)
        except (ValueError, RecursionError) as error:
            return Row(record.line, record.start, fault=Fault("json", f"it is not JSON: {error}"))
        if not isinstance(value, dict):
            return Row(record.line, record.start, fault=Fault("json", f"it is {type(value).__name__}, not an object"))
        id = value.get(self.columns.id or "id")
        id = id if isinstance(id, SCALARS) else json.dumps(id)
        found = _input(value, self.columns.text)
        if isinstance(found, Fault):
            return Row(record.line, record.start, id=id, fault=found)
        return Row(record.line, record.start, found, id)


def _input(value: dict[str, Any], column: str | None) -> Input | Fault:
    """Take the text of a column, or, where none was named, `text`, `image` or both."""
    if column is not None:
        return text_or_fault(value.get(column), column, column in value)
    found = {key: value[key] for key in ("text", "image") if value.get(key) is not None}
    if "image" not in found:
        return text_or_fault(value.get("text"), "text", "text" in value)
    if wrong := [key for key in found if not isinstance(found[key], str)]:
        return Fault("not-text", f"its {listing(wrong)} is no string")
    return found


def text_or_fault(value: object, column: str, there: bool = True) -> str | Fault:
    """Return a value if it is a text, else why it is none."""
    if not there:
        return Fault("missing", f"it has no {column!r}")
    if not isinstance(value, str):
        return Fault("not-text", f"its {column!r} is {'null' if value is None else type(value).__name__}, not a text")
    return value
