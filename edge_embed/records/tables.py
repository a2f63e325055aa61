"""CSV and TSV files -> records by byte range -> rows."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator
from functools import cached_property
from pathlib import Path

from edge_embed.errors import InputError, listing

from .lines import TOO_LONG, Record, nothing
from .row import LONGEST, Columns, Fault, Row
from .stream import BOM, Line, Stream


class TooLongLine(Exception):
    """A line of the record that is being read is too long."""


class CsvTable:
    """A table whose first record names its columns; fields may be quoted and then hold line breaks."""

    def __init__(self, path: Path, columns: Columns, delimiter: str = ",") -> None:
        self.path, self.columns, self.delimiter = path, columns, delimiter
        self.stream = Stream(path)

    @cached_property
    def _header(self) -> tuple[list[str], int, int]:
        """The columns' names, and the byte and line after them."""
        begins = 0

        def count(data: bytes) -> None:
            nonlocal begins
            begins += len(data)

        stream = Stream(self.path)  # of its own: records may be being read
        records = self._split(stream.lines(0, None, count), 0, 1)
        record = next(records, None)
        stream.close()
        if record is None or isinstance(record.content, Fault):
            what = "is empty" if record is None else f"does not begin with the columns' names: {record.content.message}"
            raise InputError(f"{self.path} {what}")
        return record.content, begins, record.following

    @cached_property
    def _places(self) -> tuple[int, int | None]:
        """Where the text and the id stand in a record."""
        names = self._header[0]
        for name in (self.columns.text or "text", self.columns.id):
            if name is not None and name not in names:
                hint = "" if self.columns.text else "; name the one with texts by column (--column)"
                raise InputError(f"{self.path} has no column {name!r}: it has {listing(names)}{hint}")
        id = self.columns.id or ("id" if "id" in names else None)
        return names.index(self.columns.text or "text"), None if id is None else names.index(id)

    def check(self) -> None:
        """Raise InputError where a column is not there."""
        self._places  # noqa: B018 - is found now

    def begin(self) -> tuple[int, int]:
        """Return the byte and the line at which rows begin."""
        return self._header[1:]

    def records(
        self, start: int, stop: int | None, line: int, seen: Callable[[bytes], object] = nothing
    ) -> Iterator[Record]:
        """Yield the records from byte `start`, which is on line `line`; `seen` gets every byte."""
        lines = self.stream.lines(start, stop, seen)
        yield from (record for record in self._split(lines, start, line) if record.content)

    def _split(self, lines: Iterator[Line], start: int, line: int) -> Iterator[Record]:
        csv.field_size_limit(LONGEST)  # of the process; its default is less than a text may have
        while True:  # after a record that cannot be read the next line begins another
            taken = _Taken(lines, start, line)
            reader = csv.reader(taken, delimiter=self.delimiter, strict=True)
            while True:
                first = (taken.line, taken.at)
                try:
                    fields = next(reader, None)
                except TooLongLine:
                    content: Fault | list[str] = TOO_LONG
                except csv.Error as error:
                    content = Fault("csv", f"lines {first[0]} to {taken.line - 1} are no record: {error}")
                else:
                    if fields is None:
                        return
                    content = fields
                yield Record(*first, taken.line, content)
                if isinstance(content, Fault):
                    start, line = taken.at, taken.line
                    break

    def row(self, record: Record) -> Row:
        """Return a record as a row."""
        fault = record.content
        if not isinstance(fault, Fault):
            place, id = self._places
            fault = self._fault(record.content)
        if fault is not None:
            return Row(record.line, record.start, fault=fault)
        return Row(record.line, record.start, record.content[place], None if id is None else record.content[id])

    def _fault(self, fields: list[str]) -> Fault | None:
        names = self._header[0]
        if len(fields) != len(names):
            return Fault("csv", f"it has {len(fields)} fields, the header {len(names)}")
        try:
            "".join(fields).encode()
        except UnicodeEncodeError:
            return Fault("encoding", "it is not UTF-8")
        return None

    def close(self) -> None:
        """Close the file."""
        self.stream.close()


class _Taken:
    """Lines as csv takes them, and how far it has taken them."""

    def __init__(self, lines: Iterator[Line], at: int, line: int) -> None:
        self._lines, self.at, self.line = lines, at, line

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        offset, size, data = next(self._lines)
        self.at, self.line = offset + size, self.line + 1
        if data is None:
            raise TooLongLine
        return (data.removeprefix(BOM) if offset == 0 else data).decode(errors="surrogateescape")
