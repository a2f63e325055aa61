"""Any input -> its chunks, made by one pass that gives the same ones every time; a chunk -> its rows."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from edge_embed.errors import InputError, listing

from .folder import FolderFiles
from .lines import JsonLines, TextLines
from .parquet import ParquetRows
from .row import Chunk, Columns, Row
from .stream import COMPRESSED
from .tables import CsvTable

Kind = Literal["text", "jsonl", "csv", "tsv", "parquet", "folder"]
SUFFIXES: dict[str, Kind] = {
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".csv": "csv",
    ".tsv": "tsv",
    ".tab": "tsv",
    ".parquet": "parquet",
    ".pq": "parquet",
}
OTHERS = {
    ".json": "one JSON value: write its objects one a line, into a .jsonl file",
    ".xlsx": "a spreadsheet: save it as CSV",
    ".pdf": "a PDF: extract its text first",
    ".zip": "an archive: unpack it first",
    ".tar": "an archive: unpack it first",
    ".bz2": "compressed by bzip2: compress it by gzip or zstd",
    ".xz": "compressed by xz: compress it by gzip or zstd",
}
CHUNK_BYTES = 1 << 24  # of rows in a chunk, whatever their number, so that memory is bounded
HASH = 16  # bytes


@dataclass(frozen=True)
class Span:
    """A chunk of one input, before it has a number."""

    start: int
    stop: int
    line: int
    rows: int
    hash: str
    files: tuple[str, ...] = ()


def kind_of(path: Path) -> Kind:
    """Tell a kind by the suffix, lines where it says nothing; raise InputError for what cannot be read."""
    if path.is_dir():
        return "folder"
    name = Path(path.stem) if path.suffix.lower() in COMPRESSED else path
    suffix = name.suffix.lower()
    if fault := OTHERS.get(suffix):
        raise InputError(f"{path} is {fault}")
    kind = SUFFIXES.get(suffix, "text")
    if kind == "parquet" and name != path:
        raise InputError(f"{path} is a compressed Parquet file: decompress it, since Parquet is compressed inside")
    return kind


class Source:
    """An input that is open; not for several threads at a time."""

    def __init__(self, path: Path, kind: Kind, columns: Columns) -> None:
        if kind not in get_args(Kind):
            raise InputError(f"unknown kind {kind!r} of input: choose from {listing(get_args(Kind))}")
        self.path, self._columns = path, columns
        self._parquet = ParquetRows(path, columns) if kind == "parquet" else None
        self._folder = FolderFiles(path) if kind == "folder" else None
        self._records = None if kind in ("parquet", "folder") else self._lines(kind)

    def _lines(self, kind: Kind) -> TextLines | CsvTable:
        if kind == "text":
            return TextLines(self.path, self._columns)
        if kind == "jsonl":
            return JsonLines(self.path, self._columns)
        return CsvTable(self.path, self._columns, "\t" if kind == "tsv" else ",")

    def check(self) -> None:
        """Raise InputError, before any work, where a column is not there; the message lists those that are."""
        if self._parquet is not None:
            self._parquet.check()
        if self._records is not None:
            self._records.check()

    def spans(self, rows: int, identity: str) -> Iterator[Span]:
        """Yield the chunks, of at most `rows` rows; `identity` is the file's hash, for kinds that are not read here."""
        if self._parquet is not None:
            return self._row_spans(self._parquet, rows, identity)
        if self._folder is not None:
            return self._file_spans(self._folder, rows)
        assert self._records is not None
        return self._line_spans(self._records, rows)

    def rows(self, chunk: Chunk) -> list[Row]:
        """Return the rows of a chunk; raise InputError where its bytes are not those of the pass."""
        if self._parquet is not None:
            return [*self._parquet.read(chunk.start, chunk.stop)]
        digest = hashlib.blake2b(digest_size=HASH)
        if self._folder is not None:
            for name in chunk.files:
                self._folder.digest(name, digest.update)
            found = [*self._folder.rows(chunk.files, chunk.line)]
        else:
            assert self._records is not None
            records = self._records.records(chunk.start, chunk.stop, chunk.line, digest.update)
            found = [self._records.row(record) for record in records]
        if digest.hexdigest() != chunk.hash or len(found) != chunk.rows:
            raise InputError(
                f"{self.path} was changed since the job began, at or after line {chunk.line}: put the old file back, "
                "or start a new job in another folder"
            )
        return found

    def all_rows(self) -> Iterator[Row]:
        """Yield every row, in order, for those who need no chunks."""
        if self._parquet is not None:
            return self._parquet.read(0, self._parquet.rows)
        if self._folder is not None:
            return self._folder.rows([*self._folder.files()], 1)
        assert self._records is not None
        start, line = self._records.begin()
        return map(self._records.row, self._records.records(start, None, line))

    def close(self) -> None:
        """Close the file."""
        for one in (self._parquet, self._records):
            if one is not None:
                one.close()

    def _line_spans(self, lines: TextLines | CsvTable, rows: int) -> Iterator[Span]:
        """Close a chunk after so many records or bytes; blank lines belong to the chunk that follows or ends them."""
        start, line = lines.begin()
        taken = _Taken()
        count = 0
        for record in lines.records(start, None, line, taken.add):
            count += 1
            if count == rows or taken.size >= CHUNK_BYTES:
                yield Span(start, start + taken.size, line, count, taken.hash)
                start, line, count = start + taken.size, record.following, 0
                taken.restart()
        if count:
            yield Span(start, start + taken.size, line, count, taken.hash)

    def _row_spans(self, parquet: ParquetRows, rows: int, identity: str) -> Iterator[Span]:
        size = max(1, min(rows, CHUNK_BYTES // max(1, parquet.row_bytes())))
        for start in range(0, parquet.rows, size):
            stop = min(start + size, parquet.rows)
            name = hashlib.blake2b(f"{identity} {start} {stop}".encode(), digest_size=HASH).hexdigest()
            yield Span(start, stop, start + 1, stop - start, name)

    def _file_spans(self, folder: FolderFiles, rows: int) -> Iterator[Span]:
        taken, names, size, first = _Taken(), list[str](), 0, 1
        for name in folder.files():
            names.append(name)
            size += folder.digest(name, taken.add)
            if len(names) == rows or size >= CHUNK_BYTES:
                yield Span(first - 1, first - 1 + len(names), first, len(names), taken.hash, tuple(names))
                first, names, size = first + len(names), [], 0
                taken.restart()
        if names:
            yield Span(first - 1, first - 1 + len(names), first, len(names), taken.hash, tuple(names))


class _Taken:
    """The bytes that a chunk has so far: how many, and their hash."""

    def __init__(self) -> None:
        self.restart()

    def restart(self) -> None:
        self.size, self._digest = 0, hashlib.blake2b(digest_size=HASH)

    def add(self, data: bytes) -> None:
        self.size += len(data)
        self._digest.update(data)

    @property
    def hash(self) -> str:
        return self._digest.hexdigest()
