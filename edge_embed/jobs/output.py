"""Vectors -> a file or standard output, one by one; a file appears whole or not at all."""

from __future__ import annotations

import base64
import json
import os
import sys
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, Literal

import numpy as np
from numpy.typing import NDArray

Format = Literal["json", "jsonl", "npy", "raw", "base64"]
NPY_HEADER = 128  # bytes, enough for any shape; NumPy's format wants a multiple of 64


@contextmanager
def opened(path: Path | None) -> Iterator[BinaryIO]:
    """Open standard output, or a temporary file that becomes `path` when the block ends well."""
    if path is None:
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
        return
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.chmod(name, 0o644)
        os.replace(name, path)
    except BaseException:
        os.unlink(name)
        raise


def write(vectors: Iterable[NDArray[Any]], file: BinaryIO, form: Format) -> None:
    """Write vectors: `raw` is little-endian rows, `base64` one line a row, `npy` needs a file that can be sought in."""
    if form == "npy":
        file.write(b"\0" * NPY_HEADER)
    if form == "json":
        file.write(b"[")
    count = 0
    vector = np.empty(0, np.float32)
    for vector in vectors:
        if form == "json":
            file.write((b",\n " if count else b"\n ") + json.dumps(vector.tolist()).encode())
        elif form == "jsonl":
            file.write(json.dumps({"index": count, "embedding": vector.tolist()}).encode() + b"\n")
        else:
            data = vector.astype(vector.dtype.newbyteorder("<"), copy=False).tobytes()
            file.write(base64.b64encode(data) + b"\n" if form == "base64" else data)
        count += 1
    if form == "json":
        file.write(b"\n]\n")
    if form == "npy":
        file.seek(0)
        file.write(_npy_header((count, len(vector)), vector.dtype))


def _npy_header(shape: tuple[int, int], dtype: np.dtype[Any]) -> bytes:
    """Write format 1.0 of numpy.lib.format, padded to NPY_HEADER bytes."""
    fields = {"descr": dtype.newbyteorder("<").str, "fortran_order": False, "shape": shape}
    text = str(fields).encode()
    head = b"\x93NUMPY\x01\x00" + (NPY_HEADER - 10).to_bytes(2, "little")
    return head + text + b" " * (NPY_HEADER - len(head) - len(text) - 1) + b"\n"


SUFFIXES: dict[str, Format] = {
    ".json": "json",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".npy": "npy",
    ".bin": "raw",
    ".b64": "base64",
}
