"""A file, compressed or not -> its lines, each of bounded length, from any byte on."""

from __future__ import annotations

import gzip
import importlib.util
import io
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, cast

from edge_embed.errors import InputError, MissingDependencyError
from edge_embed.remedies.installing import install_extra

from .row import LONGEST

SKIP = 1 << 20
COMPRESSED = (".gz", ".zst")
UTF_16 = (b"\xff\xfe", b"\xfe\xff")
BOM = b"\xef\xbb\xbf"
DAMAGED = (EOFError, zlib.error, gzip.BadGzipFile, OSError)  # of decompressors


class Line(NamedTuple):
    """A line with its end, and where it begins; None for one longer than LONGEST, which was passed over."""

    offset: int
    size: int
    data: bytes | None


class Stream:
    """A file that is read line by line, and may be asked for a place further back."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file: BinaryIO | None = None
        self._at = 0

    def lines(
        self, start: int, stop: int | None, seen: Callable[[bytes], object] = lambda data: None
    ) -> Iterator[Line]:
        """Yield lines from byte `start` to `stop`, or to the end; `seen` gets every byte.

        Raises InputError for a file that cannot be read, is compressed and cut short or damaged, or is UTF-16.
        """
        try:
            file = self._open_at(start)
            while stop is None or self._at < stop:
                line = self._next(file, seen)
                if line is None:
                    return
                yield line
        except DAMAGED as error:
            self.close()
            raise InputError(self._told(error)) from error

    def close(self) -> None:
        """Close the file; it is opened again when it is needed."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def _next(self, file: BinaryIO, seen: Callable[[bytes], object]) -> Line | None:
        data = file.readline(LONGEST + 1)
        if not data:
            return None
        if self._at == 0 and data.startswith(UTF_16):
            raise InputError(f"{self.path} is UTF-16: save it as UTF-8, as with iconv -f UTF-16 -t UTF-8")
        seen(data)
        size, more = len(data), data
        while not more.endswith(b"\n") and (more := file.readline(SKIP)):
            seen(more)
            size += len(more)
        line = Line(self._at, size, data if size == len(data) else None)
        self._at += size
        return line

    def _open_at(self, start: int) -> BinaryIO:
        """Return the file at a byte: by seeking, or in a compressed file by reading on from where it is, or anew."""
        if self._file is None or (start < self._at and self.path.suffix.lower() in COMPRESSED):
            self.close()
            self._file, self._at = open_bytes(self.path), 0
        if self.path.suffix.lower() not in COMPRESSED:
            self._file.seek(start)
        else:
            while self._at < start:
                data = self._file.read(min(SKIP, start - self._at))
                if not data:
                    raise EOFError
                self._at += len(data)
        self._at = start
        return self._file

    def _told(self, error: Exception) -> str:
        if isinstance(error, OSError) and error.errno is not None:
            return f"cannot read {self.path}: {error.strerror}"
        return f"{self.path} is cut short or damaged after {self._at} bytes of what it holds: copy it again"


def open_bytes(path: Path) -> BinaryIO:
    """Open a file, through its decompressor if its suffix names one; raises OSError or MissingDependencyError."""
    suffix = path.suffix.lower()
    if suffix == ".gz":
        return cast(BinaryIO, gzip.open(path, "rb"))
    if suffix == ".zst":
        return _open_zst(path)
    return path.open("rb")


def _open_zst(path: Path) -> BinaryIO:
    if importlib.util.find_spec("compression") is not None:  # Python 3.14
        zstd: Any = importlib.import_module("compression.zstd")
        return cast(BinaryIO, zstd.open(path, "rb"))
    try:
        pyarrow: Any = importlib.import_module("pyarrow")
    except ImportError as error:
        raise MissingDependencyError(f"{path} needs pyarrow to be decompressed: {install_extra('parquet')}") from error
    with path.open("rb"):  # its own errors for what cannot be opened name no errno
        pass
    return cast(BinaryIO, io.BufferedReader(pyarrow.input_stream(str(path), compression="zstd"), SKIP))
