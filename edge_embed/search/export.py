"""An index -> vectors and passages in files that other programs read."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from edge_embed.errors import InputError
from edge_embed.records.parquet import pyarrow

from .coding import decode
from .database import Database

STRIDE = 4096  # passages that are held at a time
QUERY = (
    "SELECT p.id, s.kind, s.key, p.place, p.start, p.stop, s.time, s.metadata, p.text, v.scale, v.codes "
    "FROM passage AS p JOIN source AS s ON s.id = p.source JOIN vector AS v ON v.id = p.id "
    "WHERE p.id > ? ORDER BY p.id LIMIT ?"
)


def export(database: Database, path: Path) -> int:
    """Write all passages by their order: `.parquet` with texts and places, `.npy` the vectors alone; return how many.

    Vectors are float32 of length one. The file appears when it is complete. Raises InputError for another suffix, or a
    file that cannot be written.
    """
    writers = {".parquet": _parquet, ".npy": _npy}
    if path.suffix.lower() not in writers:
        raise InputError(f"cannot export to {path}: name a file that ends in .parquet or .npy")
    hidden = path.with_name(f".{path.name[:100]}.{secrets.token_hex(4)}")
    try:
        count = writers[path.suffix.lower()](database, hidden)
        os.replace(hidden, path)
    except OSError as error:
        raise InputError(f"cannot write {path}: {error.strerror or error}") from error
    finally:
        hidden.unlink(missing_ok=True)
    return count


def _batches(database: Database) -> Iterator[list[tuple[Any, ...]]]:
    last = -1
    while rows := database.rows(QUERY, last, STRIDE):
        yield rows
        last = rows[-1][0]


def _npy(database: Database, path: Path) -> int:
    count = int(database.rows("SELECT count(*) FROM passage")[0][0])
    out = np.lib.format.open_memmap(path, "w+", np.float32, (count, database.meta.dims))
    filled = 0
    for rows in _batches(database):
        part = decode([row[-2:] for row in rows[: count - filled]], database.meta.dims)
        out[filled : filled + len(part)] = part
        filled += len(part)
    out.flush()
    return count


def _parquet(database: Database, path: Path) -> int:
    pq, pa = pyarrow(), pyarrow("")
    names = ["id", "kind", "key", "place", "start", "stop", "time", "metadata", "text"]
    kinds = [pa.int64(), pa.string(), pa.string(), *[pa.int64()] * 3, pa.float64(), pa.string(), pa.string()]
    schema = pa.schema([*zip(names, kinds, strict=True), ("embedding", pa.list_(pa.float32(), database.meta.dims))])
    facts = {"model": database.meta.name, "fingerprint": database.meta.fingerprint}
    count = 0
    with pq.ParquetWriter(path, schema.with_metadata(facts), compression="zstd", use_dictionary=False) as writer:
        for rows in _batches(database):
            columns = [[row[n] for row in rows] for n in range(len(names))]
            columns[2] = [key.decode("utf-8", "replace") for key in columns[2]]
            flat = pa.array(decode([row[-2:] for row in rows], database.meta.dims).reshape(-1))
            vectors = pa.FixedSizeListArray.from_arrays(flat, database.meta.dims)
            arrays = [pa.array(column, kind) for column, kind in zip(columns, kinds, strict=True)]
            writer.write_table(pa.Table.from_arrays([*arrays, vectors], schema=schema.with_metadata(facts)))
            count += len(rows)
    return count
