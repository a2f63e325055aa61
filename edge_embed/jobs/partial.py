"""What was computed of a chunk so far, in frames that each stand for themselves: a torn last one is cut off."""

from __future__ import annotations

import json
import os
import struct
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_embed.errors import InputError
from edge_embed.records.row import Fault

HEAD = struct.Struct("<4sIII")  # a mark, the bytes of the JSON, those of the rows, CRC-32 of both
MARK = b"EEFR"
LARGEST = 1 << 30


@dataclass(frozen=True)
class Frame:
    """Finished vectors (n, width) of the texts at `positions`; which batches of which window they are, and faults."""

    steps: Mapping[int, int]
    positions: NDArray[np.int64]
    vectors: NDArray[Any]
    faults: Mapping[int, Fault]


class Partial:
    """The file of a chunk's frames; `key` names what is computed, of `count` inputs: other frames are dropped."""

    def __init__(self, path: Path, key: str, count: int, width: int, dtype: np.dtype[Any]) -> None:
        self._path, self._key, self._count, self._width, self._dtype = path, key, count, width, dtype

    def read(self) -> list[Frame]:
        """Return the frames that are whole, and cut off what follows them."""
        try:
            data = self._path.read_bytes()
        except FileNotFoundError:
            return []
        frames, end = [], 0
        try:
            for stop, head, rows in _frames(data):
                if head.get("key") != self._key:
                    break
                frames.append(self._frame(head, rows))
                end = stop
        except (KeyError, TypeError, ValueError, AttributeError):  # written by something else
            pass
        if end < len(data):
            os.truncate(self._path, end)
        return frames

    def append(self, frame: Frame) -> None:
        """Add a frame and have it on the disk."""
        head = {
            "key": self._key,
            "steps": {str(window): count for window, count in frame.steps.items()},
            "faults": {str(at): (fault.reason, fault.message) for at, fault in frame.faults.items()},
        }
        text = json.dumps(head).encode()
        rows = frame.positions.astype("<i8").tobytes() + np.ascontiguousarray(frame.vectors).tobytes()
        crc = zlib.crc32(rows, zlib.crc32(text))
        with self._path.open("ab") as file:
            end = file.tell()
            try:
                file.write(HEAD.pack(MARK, len(text), len(rows), crc) + text + rows)
                file.flush()
                os.fsync(file.fileno())
            except OSError as error:  # a full disk; what is whole stays
                os.truncate(self._path, end)
                raise InputError(f"cannot write {self._path}: {error.strerror}") from error

    def _frame(self, head: dict[str, Any], rows: bytes) -> Frame:
        """Read a frame; raises ValueError and the like for one that no job wrote."""
        size = 8 + self._width * self._dtype.itemsize
        count = len(rows) // size
        positions = np.frombuffer(rows[: 8 * count], "<i8").astype(np.int64)
        vectors = np.frombuffer(rows[8 * count :], self._dtype).reshape(count, self._width)
        steps = {int(window): int(done) for window, done in head["steps"].items()}
        faults = {int(at): Fault(*fault) for at, fault in head["faults"].items()}
        if not all(0 <= at < self._count for at in (*positions.tolist(), *faults)):
            raise ValueError("a position that there is not")
        return Frame(steps, positions, vectors, faults)


def _frames(data: bytes) -> Iterator[tuple[int, dict[str, Any], bytes]]:
    """Yield where each frame ends, its head and its rows, as far as they are whole."""
    at = 0
    while at + HEAD.size <= len(data):
        mark, text_size, rows_size, crc = HEAD.unpack_from(data, at)
        text = data[at + HEAD.size : at + HEAD.size + text_size]
        rows = data[at + HEAD.size + text_size : at + HEAD.size + text_size + rows_size]
        if mark != MARK or len(text) + len(rows) != text_size + rows_size or zlib.crc32(rows, zlib.crc32(text)) != crc:
            return
        at += HEAD.size + text_size + rows_size
        yield at, json.loads(text), rows
