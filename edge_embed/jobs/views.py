"""What is made of the parts when all are there: one memory-mappable vectors.npy with rows.jsonl, JSON lines, SQLite."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import sqlite3
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_embed.errors import InputError
from edge_embed.records.row import Chunk

from .folder import JobFolder, claimed, sweep
from .output import npy_header, opened
from .part import Part
from .parts import read_part

WAIT = 0.5  # seconds between two looks at what another process makes
VIEWS: dict[str, tuple[str, ...]] = {
    "npy": ("rows.jsonl", "vectors.npy"),
    "jsonl": ("vectors.jsonl",),
    "sqlite": ("vectors.sqlite",),
    "parquet": (),
}  # the last is written when the others are there


def make_view(folder: JobFolder, format: str, chunks: Sequence[Chunk]) -> list[Path]:
    """Make the files of a format from the parts, each whole, unless they are there; returns them."""
    paths, claim = [folder.path / name for name in VIEWS[format]], folder.path / ".view"
    while paths and not paths[-1].exists():
        with claimed(claim) as mine:
            if mine and not paths[-1].exists():
                for path in paths:
                    sweep(path)
                {"npy": _npy, "jsonl": _jsonl, "sqlite": _sqlite}[format](folder, chunks)
            if mine:
                claim.unlink(missing_ok=True)
        time.sleep(0 if mine else WAIT)  # for the shard that was done at the same time
    return paths


def _parts(folder: JobFolder, chunks: Sequence[Chunk]) -> Iterator[Part]:
    return (read_part(folder.part(chunk.number)) for chunk in chunks)


def _npy(folder: JobFolder, chunks: Sequence[Chunk]) -> None:
    with opened(folder.path / "vectors.npy") as vectors, opened(folder.path / "rows.jsonl") as rows:
        count, shape, dtype = 0, (0, 0), np.dtype(np.float32)
        vectors.write(npy_header(shape, dtype))
        for part in _parts(folder, chunks):
            vectors.write(np.ascontiguousarray(part.vectors).tobytes())
            rows.writelines(_line(one) for one in part.fields)
            count, shape, dtype = count + len(part.vectors), part.vectors.shape, part.vectors.dtype
        vectors.seek(0)
        vectors.write(npy_header((count, shape[1]), dtype))


def _jsonl(folder: JobFolder, chunks: Sequence[Chunk]) -> None:
    with opened(folder.path / "vectors.jsonl") as file:
        for part in _parts(folder, chunks):
            rows = zip(part.fields, part.vectors.tolist(), strict=True)
            file.writelines(_line({**fields, "embedding": vector}) for fields, vector in rows)


def _sqlite(folder: JobFolder, chunks: Sequence[Chunk]) -> None:
    """Write table `vector`: rowid in the order of the rows, file, line, id, start, stop, and little-endian numbers."""
    target = folder.path / "vectors.sqlite"
    hidden = target.with_name(f".{target.name}.{secrets.token_hex(4)}")
    try:
        with contextlib.closing(sqlite3.connect(hidden, isolation_level=None)) as base:
            base.execute("PRAGMA journal_mode=OFF")  # the file is of no use before it is whole
            base.execute("PRAGMA synchronous=OFF")
            base.execute("CREATE TABLE vector (file TEXT, line INTEGER, id, start INTEGER, stop INTEGER, data BLOB)")
            base.execute("BEGIN")
            for part in _parts(folder, chunks):
                base.executemany("INSERT INTO vector VALUES (?, ?, ?, ?, ?, ?)", _rows(part))
            base.execute("COMMIT")
            base.execute("CREATE INDEX id ON vector (id)")
        with hidden.open("rb") as file:
            os.fsync(file.fileno())
        os.replace(hidden, target)
    except sqlite3.Error as error:
        raise InputError(f"cannot write {target}: {error}") from error
    finally:
        hidden.unlink(missing_ok=True)


def _rows(part: Part) -> Iterator[tuple[Any, ...]]:
    vectors: NDArray[Any] = part.vectors.astype(part.vectors.dtype.newbyteorder("<"), copy=False)
    for one, vector in zip(part.fields, vectors, strict=True):
        id = one.get("id")
        if isinstance(id, int) and not -(1 << 63) <= id < 1 << 63:
            id = str(id)  # more than SQLite's integers hold
        yield one["file"], one["line"], id, one.get("start"), one.get("stop"), vector.tobytes()


def _line(fields: Any) -> bytes:
    return json.dumps(fields, ensure_ascii=True).encode() + b"\n"
