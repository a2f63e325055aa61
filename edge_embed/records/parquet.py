"""Parquet files -> rows by range; needs pyarrow."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Any

from edge_embed.errors import InputError, MissingDependencyError, listing
from edge_embed.remedies.installing import install_extra

from .lines import SCALARS, text_or_fault
from .row import LONGEST, Columns, Fault, Row


def pyarrow(module: str = "parquet") -> Any:
    """Import a module of pyarrow; raise MissingDependencyError that says how to get it."""
    try:
        return importlib.import_module(f"pyarrow.{module}" if module else "pyarrow")
    except ImportError as error:
        raise MissingDependencyError(f"Parquet needs pyarrow: {install_extra('parquet')}") from error


class ParquetRows:
    """A Parquet file; ranges are numbers of rows, wherever its row groups begin."""

    def __init__(self, path: Path, columns: Columns) -> None:
        self.path, self.columns = path, columns
        self._reading: tuple[int, Iterator[Row]] | None = None  # the number of the next row, and the rows from it on

    @cached_property
    def _file(self) -> Any:
        parquet = pyarrow()
        try:
            return parquet.ParquetFile(self.path, memory_map=False, pre_buffer=False)
        except (OSError, pyarrow("lib").ArrowException) as error:
            raise InputError(f"{self.path} is no Parquet file that can be read: {error}") from error

    @cached_property
    def names(self) -> tuple[str, str | None]:
        """The columns of texts and of ids."""
        types = {field.name: field.type for field in self._file.schema_arrow}
        text = self.columns.text or "text"
        for name in (text, self.columns.id):
            if name is not None and name not in types:
                hint = "" if self.columns.text else "; name the one with texts by column (--column)"
                raise InputError(f"{self.path} has no column {name!r}: it has {listing(types)}{hint}")
        if not _is_text(types[text]):
            raise InputError(f"column {text!r} of {self.path} is {types[text]}, not text")
        return text, self.columns.id or ("id" if "id" in types else None)

    def check(self) -> None:
        """Raise InputError where a column is not there, or holds no texts."""
        self.names  # noqa: B018 - is found now

    @property
    def rows(self) -> int:
        """How many rows there are."""
        return int(self._file.metadata.num_rows)

    def row_bytes(self) -> int:
        """Return the mean size of a text, as its column is before compression."""
        metadata, total = self._file.metadata, 0
        for group in range(metadata.num_row_groups):
            columns = (metadata.row_group(group).column(n) for n in range(metadata.num_columns))
            total += sum(one.total_uncompressed_size for one in columns if one.path_in_schema == self.names[0])
        return total // max(1, self.rows)

    def read(self, start: int, stop: int) -> Iterator[Row]:
        """Yield the rows of a range; one after another is read on, any other from its row group's beginning."""
        at, rows = self._reading or (-1, iter(()))
        self._reading = None  # until all of the range was taken
        rows = rows if at == start else self._from(start)
        for number in range(start, stop):
            row = next(rows, None)
            if row is None:
                raise InputError(f"{self.path} ends at row {number}: it was changed since the job began")
            yield row
        self._reading = (stop, rows)

    def _from(self, start: int) -> Iterator[Row]:
        metadata, first, group = self._file.metadata, 0, 0
        while group < metadata.num_row_groups and first + metadata.row_group(group).num_rows <= start:
            first += metadata.row_group(group).num_rows
            group += 1
        groups, names = [*range(group, metadata.num_row_groups)], [name for name in self.names if name]
        number = first
        try:
            for batch in self._file.iter_batches(1024, groups, names, use_threads=False):
                skipped = min(len(batch), max(0, start - number))
                texts = batch.column(names[0])[skipped:]
                ids = batch.column(names[1])[skipped:] if len(names) > 1 else None
                for at, text in enumerate(texts):
                    yield self._row(number + skipped + at, text.as_py(), None if ids is None else ids[at].as_py())
                number += len(batch)
        except (OSError, pyarrow("lib").ArrowException) as error:
            raise InputError(f"{self.path} is damaged near row {number}: {error}") from error

    def _row(self, number: int, value: object, id: object) -> Row:
        found = text_or_fault(value, self.names[0])
        if isinstance(found, str) and len(found) > LONGEST:
            found = Fault("too-long", f"it is longer than {LONGEST:,} characters")
        id = id if isinstance(id, SCALARS) else str(id)
        if isinstance(found, Fault):
            return Row(number + 1, None, id=id, fault=found)
        return Row(number + 1, None, found, id)

    def close(self) -> None:
        """Close the file."""
        self._reading = None
        if "_file" in vars(self):
            self._file.close()
            del self._file


def _is_text(type: Any) -> bool:
    types = pyarrow("types")
    if types.is_dictionary(type):
        type = type.value_type
    return bool(types.is_string(type) or types.is_large_string(type) or types.is_string_view(type))
