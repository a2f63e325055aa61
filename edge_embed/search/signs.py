"""The derived file beside an index: every passage's signs, column by column, mapped and checked, replaced whole."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import struct
import time
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edge_embed.vectors import columns

from .meta import Meta, last_passage

MAGIC = b"EEBITS1\n"
HEADER = struct.Struct("<8s32sQQIIII")  # magic, uuid, generation, rows, words, dims, crc32 of the rest, of this
STRIDE = 1 << 14  # rows that are read at a time
LEFTOVER = 3600.0  # seconds after which a file that was never renamed is nobody's
SAMPLE = 64  # passages that are compared with the database


@dataclass(frozen=True)
class Signs:
    """Ids of passages, ascending (n,), and their signs by columns (words, n), as of one generation."""

    generation: int
    ids: NDArray[np.int64]
    words: NDArray[np.uint64]

    @property
    def covered(self) -> int:
        """The last id that is in it: later ones are still to be added."""
        return int(self.ids[-1]) if len(self.ids) else 0

    def followed_by(self, later: Signs) -> Signs:
        """Join with those of higher ids."""
        if not len(later.ids):
            return self
        ids, words = np.concatenate([self.ids, later.ids]), np.concatenate([self.words, later.words], axis=1)
        return Signs(self.generation, ids, np.ascontiguousarray(words))

    def without(self, rows: NDArray[np.intp], generation: int) -> Signs:
        """Leave rows out, in a new generation."""
        words = np.ascontiguousarray(np.delete(self.words, rows, axis=1))
        return Signs(generation, np.delete(self.ids, rows), words)


def place_of(index: str) -> Path:
    """Return where an index's signs are kept."""
    return Path(f"{index}-bits")


def build(connection: sqlite3.Connection, meta: Meta, generation: int) -> Signs:
    """Gather the signs of all passages from the database."""
    (count,) = connection.execute("SELECT count(*) FROM sign").fetchone()
    width = (meta.bits + 7) // 8
    ids, words = np.empty(count, np.int64), np.empty((width, count), np.uint64)
    rows = connection.execute("SELECT id, bits FROM sign ORDER BY id")
    filled = 0
    while part := rows.fetchmany(STRIDE):
        end = filled + len(part)
        ids[filled:end] = [id for id, _ in part]
        words[:, filled:end] = laid_out([bits for _, bits in part], meta.bits)
        filled = end
    return Signs(generation, ids, words)


def laid_out(bits: list[bytes], length: int) -> NDArray[np.uint64]:
    """Lay rows of bits out by columns; one of another length counts as zeros."""
    whole = b"".join(row if isinstance(row, bytes) and len(row) == length else bytes(length) for row in bits)
    return columns(np.frombuffer(whole, np.uint8).reshape(len(bits), length))


def write(signs: Signs, index: str, meta: Meta) -> bool:
    """Write the file under a hidden name and rename it; return whether that was possible.

    It is not forced to the disk: after a loss of power its sum tells, and it is made anew.
    """
    place = place_of(index)
    hidden = place.with_name(f".{place.name}.{os.urandom(4).hex()}")
    rest = zlib.crc32(signs.words.data, zlib.crc32(signs.ids.data))
    facts = (MAGIC, meta.uuid.encode(), signs.generation, len(signs.ids), len(signs.words), meta.dims, rest)
    head = HEADER.pack(*facts, zlib.crc32(HEADER.pack(*facts, 0)))
    try:
        _sweep(place)
        with hidden.open("xb") as file:
            file.write(head)
            file.write(signs.ids.astype("<i8", copy=False).data)
            file.write(signs.words.astype("<u8", copy=False).data)
        os.replace(hidden, place)
    except OSError:  # a full disk, a folder that may not be written to: what is in memory serves
        return False
    finally:
        with contextlib.suppress(OSError):
            hidden.unlink(missing_ok=True)
    return True


def read(connection: sqlite3.Connection, index: str, meta: Meta, generation: int) -> Signs | None:
    """Map the file; None where there is none, or one that is damaged, another index's or another generation's."""
    place = place_of(index)
    try:
        with place.open("rb") as file:
            head = file.read(HEADER.size)
            size = os.fstat(file.fileno()).st_size
            facts = HEADER.unpack(head)
            magic, uuid, found, rows, words, dims, rest, own = facts
            sound = magic == MAGIC and own == zlib.crc32(HEADER.pack(*facts[:-1], 0))
            ours = (uuid, found, dims, words) == (meta.uuid.encode(), generation, meta.dims, (meta.bits + 7) // 8)
            if not sound or not ours or size != HEADER.size + 8 * rows * (1 + words):
                return None
            if rows == 0:
                return Signs(generation, np.empty(0, np.int64), np.empty((words, 0), np.uint64))
            data = np.memmap(file, np.uint8, "r", HEADER.size)
    except (OSError, ValueError, struct.error):
        return None
    if zlib.crc32(data.data) != rest:
        return None
    ids = data[: 8 * rows].view("<i8")
    signs = Signs(generation, np.asarray(ids), np.asarray(data[8 * rows :].view("<u8").reshape(words, rows)))
    return signs if _agrees(connection, signs, meta) else None


def _agrees(connection: sqlite3.Connection, signs: Signs, meta: Meta) -> bool:
    """Compare some passages, the last ones among them, with the database, which may be an older copy of itself."""
    if signs.covered > last_passage(connection):
        return False
    rows = np.unique(np.linspace(0, len(signs.ids) - 1, SAMPLE).astype(np.int64))
    rows = np.union1d(rows, np.arange(max(0, len(signs.ids) - SAMPLE), len(signs.ids)))
    for row in rows:
        found = connection.execute("SELECT bits FROM sign WHERE id = ?", (int(signs.ids[row]),)).fetchone()
        if found is not None and not np.array_equal(laid_out([found[0]], meta.bits)[:, 0], signs.words[:, row]):
            return False
    return True


def _sweep(place: Path) -> None:
    """Remove what processes that were killed left half written."""
    for left in place.parent.glob(f".{place.name}.*"):
        with contextlib.suppress(OSError):
            if time.time() - left.stat().st_mtime > LEFTOVER:
                left.unlink()
