"""A part: the vectors of one chunk with what each belongs to, and a footer that says of which chunk of which job.

As .npy it is an array that NumPy reads, then a JSON line a row, then the footer, its length and a mark. `digest` is
BLAKE2b of all that stands before the footer.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_embed.errors import CorruptModelError
from edge_embed.records.row import Chunk

from .folder import canonical
from .output import NPY_HEADER, npy_header

MARK = b"EEPART01"
TAIL = 8 + len(MARK)
PIECE = 1 << 20
ROW = json.JSONEncoder(ensure_ascii=False)  # json.dumps would make one for each row


class CorruptPartError(CorruptModelError):
    """Tell that a part is not what its footer says, or has none."""


@dataclass(frozen=True)
class Part:
    """Vectors (n, width) and, of each, the fields that say where it comes from."""

    fields: Sequence[Mapping[str, Any]]
    vectors: NDArray[Any]


def footer_of(job: str, chunk: Chunk, part: Part, rejected: bytes) -> dict[str, Any]:
    """Say of which chunk of which job a part is, how many vectors it has, and which rows were rejected."""
    return {
        "format": 1,
        "job": job,
        "chunk": chunk.number,
        "hash": chunk.hash,
        "rows": chunk.rows,
        "vectors": len(part.vectors),
        "rejected": rejected.count(b"\n"),
        "rejected_digest": _digest(rejected),
    }


def encode_npy(part: Part, footer: Mapping[str, Any]) -> bytes:
    """Return a part's bytes."""
    rows = b"".join(ROW.encode(one).encode() + b"\n" for one in part.fields)
    data = part.vectors.astype(part.vectors.dtype.newbyteorder("<"), copy=False)
    body = npy_header((len(data), data.shape[1]), data.dtype) + data.tobytes() + rows
    end = canonical({**footer, "digest": _digest(body)})
    return body + end + len(end).to_bytes(8, "little") + MARK


def npy_footer(path: Path) -> dict[str, Any]:
    """Read a part's footer alone; raise CorruptPartError where there is none."""
    return _end(path)[0]


def read_npy(path: Path) -> Part:
    """Read a part; raise CorruptPartError unless its bytes are those that it was made of."""
    footer, stop = _end(path)
    data = path.read_bytes()[:stop]
    if _digest(data) != footer.get("digest"):
        raise CorruptPartError(f"{path} is damaged: its bytes are not those that were written")
    try:
        with path.open("rb") as file:
            vectors = np.lib.format.read_array(file, allow_pickle=False)
        fields = [json.loads(line) for line in data[NPY_HEADER + vectors.nbytes :].split(b"\n")[:-1]]
    except (OSError, ValueError, EOFError, MemoryError, RecursionError) as error:
        raise CorruptPartError(f"{path} is no part of a job: {error}") from error
    if vectors.ndim != 2 or not all(isinstance(one, dict) for one in fields):
        raise CorruptPartError(f"{path} is no part of a job: it does not hold a row of numbers for each object")
    return Part(fields, vectors)


def _end(path: Path) -> tuple[dict[str, Any], int]:
    """Return the footer and where it begins."""
    try:
        with path.open("rb") as file:
            size = file.seek(0, 2)
            file.seek(max(0, size - TAIL))
            tail = file.read()
            length = int.from_bytes(tail[:8], "little")
            if len(tail) != TAIL or tail[8:] != MARK or not 0 < length < min(size, PIECE):
                raise CorruptPartError(f"{path} has no footer: it was cut, or is no part of a job")
            start = size - TAIL - length
            file.seek(start)
            footer = json.loads(file.read(length))
    except (OSError, ValueError, RecursionError) as error:
        raise CorruptPartError(f"{path} cannot be read: {error}") from error
    if not isinstance(footer, dict):
        raise CorruptPartError(f"{path} has no footer: it was cut, or is no part of a job")
    return footer, start


def _digest(data: bytes) -> str:
    return hashlib.blake2b(data, digest_size=32).hexdigest()
