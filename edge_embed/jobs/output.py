"""Vectors -> a file or standard output, one by one; a file appears whole or not at all."""

from __future__ import annotations

import base64
import contextlib
import csv
import errno
import io
import json
import os
import secrets
import stat
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, Literal

import numpy as np
from numpy.typing import NDArray

from edge_embed.errors import InputError

Format = Literal["json", "jsonl", "csv", "npy", "raw", "base64"]
NPY_HEADER = 128  # bytes, enough for any shape; NumPy's format wants a multiple of 64
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)
STANDARD_OUTPUT = ("-", "/dev/stdout")

SUFFIXES: dict[str, Format] = {
    ".json": "json",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".csv": "csv",
    ".npy": "npy",
    ".bin": "raw",
    ".b64": "base64",
}


def check_output(path: Path) -> None:
    """Raise InputError, before any work, for a path that cannot become a file."""
    try:
        found = path.stat()
    except FileNotFoundError:
        parent = Path(os.path.realpath(path)).parent  # a link may lead to a file that is yet to be
        if not parent.is_dir():
            raise InputError(f"cannot write {path}: there is no folder {parent}; make it first") from None
        if not os.access(parent, os.W_OK):
            raise InputError(f"cannot write {path}: the folder {parent} may not be written to") from None
        return
    except OSError as error:
        raise InputError(f"cannot write {path}: {error.strerror}") from error
    if stat.S_ISDIR(found.st_mode):
        raise InputError(f"cannot write {path}: it is a folder; name a file in it, such as {path / 'vectors.npy'}")


@contextmanager
def opened(path: Path | None) -> Iterator[BinaryIO]:
    """Open standard output for None, or a file that has its name once the block ends well.

    A regular file is replaced by renaming and keeps its mode and, where that is allowed, its owner; a link is followed.
    Devices and FIFOs are written to. Raises InputError for what cannot be written, also when the disk is full.
    """
    if path is None:
        if sys.stdout is None:
            raise InputError("standard output is closed: open it, or name a file with -o FILE")
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
        return
    check_output(path)
    try:
        old = path.stat() if path.exists() else None
        with _in_place(path) if old and not stat.S_ISREG(old.st_mode) else _renamed(path, old) as file:
            yield file
    except OSError as error:
        if error.errno not in (*FULL, errno.EACCES, errno.EPERM, errno.EROFS):
            raise
        raise InputError(f"cannot write {path}: {error.strerror}") from error


@contextmanager
def _in_place(path: Path) -> Iterator[BinaryIO]:
    with path.open("wb") as file:
        yield file


@contextmanager
def _renamed(path: Path, old: os.stat_result | None) -> Iterator[BinaryIO]:
    """Write beside the file that a path leads to, under a hidden name, and rename when all of it is on the disk."""
    target = Path(os.path.realpath(path))
    hidden = target.with_name(f".{target.name[:100]}.{secrets.token_hex(4)}")
    handle = os.open(hidden, os.O_CREAT | os.O_EXCL | os.O_WRONLY | getattr(os, "O_BINARY", 0), 0o666)
    try:
        with os.fdopen(handle, "wb") as file:
            yield file
            file.flush()
            if old is not None:
                _take_after(hidden, old)
            os.fsync(file.fileno())
        os.replace(hidden, target)
    except BaseException:  # Ctrl-C and termination too: no hidden file stays
        hidden.unlink(missing_ok=True)
        raise
    _sync_folder(target.parent)


def _take_after(path: Path, old: os.stat_result) -> None:
    """Give a file the owner and the mode of the one that it replaces."""
    if hasattr(os, "chown"):
        with contextlib.suppress(PermissionError):  # only root may give files away
            os.chown(path, old.st_uid, old.st_gid)
    path.chmod(stat.S_IMODE(old.st_mode))


def _sync_folder(folder: Path) -> None:
    """Have a renaming on the disk, where the system can do that for a folder."""
    with contextlib.suppress(OSError):  # not on Windows, nor on every network's file system
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def write(
    vectors: Iterable[NDArray[Any]],
    file: BinaryIO,
    form: Format,
    fields: Iterator[Mapping[str, Any]] | None = None,
    none: NDArray[Any] | None = None,
) -> None:
    """Write vectors: `raw` is little-endian rows, `base64` one line a row, `npy` needs a file that can be sought in.

    `fields` gives what `jsonl` says of each vector beside its index; `csv` has its `id`, or else the index, and the
    numbers. `none` (0, dim) is what no vectors look like.
    """
    if form == "npy":
        if not file.seekable():
            raise InputError("npy states the number of rows at its beginning, and a pipe has no way back: take raw")
        file.write(b"\0" * NPY_HEADER)
    if form == "json":
        file.write(b"[")
    count = 0
    dim, dtype = (0, np.dtype(np.float32)) if none is None else (none.shape[1], none.dtype)
    for vector in vectors:
        if form == "json":
            file.write((b",\n " if count else b"\n ") + json.dumps(vector.tolist()).encode())
        elif form == "csv":
            known = next(fields) if fields is not None else {}
            file.write(_csv_head(len(vector)) if count == 0 else b"")
            file.write(_csv_row([known.get("id", count), *vector.tolist()]))
        elif form == "jsonl":
            known = next(fields) if fields is not None else {}
            file.write(json.dumps({"index": count, **known, "embedding": vector.tolist()}).encode() + b"\n")
        else:
            data = vector.astype(vector.dtype.newbyteorder("<"), copy=False).tobytes()
            file.write(base64.b64encode(data) + b"\n" if form == "base64" else data)
        count, dim, dtype = count + 1, len(vector), vector.dtype
    if form == "json":
        file.write(b"\n]\n")
    if form == "csv" and count == 0:
        file.write(_csv_head(dim))
    if form == "npy":
        file.seek(0)
        file.write(npy_header((count, dim), dtype))


def _csv_head(dim: int) -> bytes:
    return _csv_row(["id", *range(dim)])


def _csv_row(values: Sequence[object]) -> bytes:
    """Write a record; what is neither text nor number is JSON, and what is no Unicode is escaped."""
    told = [value if isinstance(value, str | int | float) else json.dumps(value) for value in values]
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerow(told)
    return text.getvalue().encode("utf-8", "backslashreplace")


def npy_header(shape: tuple[int, int], dtype: np.dtype[Any]) -> bytes:
    """Write format 1.0 of numpy.lib.format, padded to NPY_HEADER bytes."""
    fields = {"descr": dtype.newbyteorder("<").str, "fortran_order": False, "shape": shape}
    text = str(fields).encode()
    head = b"\x93NUMPY\x01\x00" + (NPY_HEADER - 10).to_bytes(2, "little")
    return head + text + b" " * (NPY_HEADER - len(head) - len(text) - 1) + b"\n"
