"""One row of a file: what is to be embedded, where it stands, or why it cannot be read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

Input: TypeAlias = "str | Mapping[str, Any]"
Reason = Literal[
    "encoding",  # bytes that are no UTF-8
    "json",  # a line that is no JSON object
    "csv",  # a record whose quotes do not match, or of another number of fields
    "missing",  # no such column in this row
    "not-text",  # a value of another type, or null
    "too-long",  # more bytes than LONGEST
    "too-many-tokens",  # where nothing may be cut
    "image",  # not readable, too large, damaged
    "unreadable",  # a file of a folder that cannot be opened
    "refused",  # what the model takes no such input for
    "not-finite",  # the engine gave a vector that is not finite
]
LONGEST = 1 << 24  # bytes of a row: far beyond any model's length, and a bound on memory


@dataclass(frozen=True)
class Fault:
    """Why a row has no vector: a word for programs, a sentence for people."""

    reason: Reason
    message: str


@dataclass(frozen=True)
class Row:
    """A row: its line (from 1) and byte offset in the file, its id where a column or field says one.

    Exactly one of `input` and `fault` is None. `offset` counts bytes after decompression; in Parquet there are none.
    """

    line: int
    offset: int | None
    input: Input | None = None
    id: Any = None
    fault: Fault | None = None


@dataclass(frozen=True, kw_only=True)
class Columns:
    """Where texts and ids are found in tables and JSON objects.

    Without `text` it is "text"; then JSON objects may have an "image" as well, or alone. Without `id` it is "id", where
    there is such a column.
    """

    text: str | None = None
    id: str | None = None


@dataclass(frozen=True, kw_only=True)
class Chunk:
    """A range of one input: the first of its rows, how many, the bytes or rows that it spans, a hash of what is there.

    `start` and `stop` are bytes of a file of lines, after decompression, rows of a Parquet file, files of a folder,
    whose names are then listed.
    """

    number: int
    input: int
    start: int
    stop: int
    line: int
    rows: int
    hash: str
    files: tuple[str, ...] = ()
