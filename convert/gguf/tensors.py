"""A GGUF file's tensors -> a checkpoint's, by the names and in the order that an architecture's entries tell.

Mapped, and dequantised one at a time, a few rows after the others: beside the float32 that is asked for, nothing of
a file is kept in memory.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from functools import cache

import gguf
import numpy as np

from edge_embed.errors import CorruptModelError, UnsupportedModelError, listing
from edge_embed.formats.gguf import BLOCKS, Header

from ..checkpoint.source import Array
from .names import Entry

AT_ONCE = 1 << 20  # weights that are dequantised together


class Restored(Mapping[str, Array]):
    """A checkpoint's tensors by its names, each made of a GGUF file's when asked for.

    `headers` are those of a model's files, of which there are several where it was split. Raises UnsupportedModelError
    for tensors without a place or of a type that cannot be read, CorruptModelError for missing or misshapen ones, all
    by name and before any is read.
    """

    def __init__(self, headers: Iterable[Header], entries: Iterable[Entry], unread: tuple[str, ...] = ()) -> None:
        self._where: dict[str, Header] = {}
        for header in headers:
            if twice := self._where.keys() & header.tensors.keys():
                raise CorruptModelError(f"{header.path}: {listing(sorted(twice)[:5])} is in another part as well")
            self._where |= dict.fromkeys(header.tensors, header)
            self._path = header.path
        self._entries: dict[str, list[Entry]] = {}
        for entry in entries:
            self._entries.setdefault(entry.source, []).append(entry)
        known = {self._stored(entry) for parts in self._entries.values() for entry in parts}
        if odd := [name for name in self._where if name not in known and name not in unread]:
            raise UnsupportedModelError(
                f"{self._path}: {len(odd)} tensors have no place in this architecture: {listing(odd[:5])}"
            )
        for parts in self._entries.values():
            for entry in parts:
                self._check(entry)

    def __getitem__(self, name: str) -> Array:
        parts = self._entries[name]
        if len(parts) == 1 and parts[0].size == parts[0].shape:
            return parts[0].restored(self._read(parts[0]))
        whole = np.zeros(parts[0].shape, np.float32)
        for entry in parts:
            whole[slice(*entry.rows) if entry.rows else slice(None)] = entry.restored(self._read(entry))
        return whole

    def __contains__(self, name: object) -> bool:
        return name in self._entries

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)

    def shape(self, name: str) -> tuple[int, ...]:
        """Return a tensor's shape without reading its values."""
        return self._entries[name][0].shape

    def _stored(self, entry: Entry) -> str:
        """Return what the tensor is called in the file, which may have it within a wider one."""
        return entry.within[0] if entry.within and entry.within[0] in self._where else entry.name

    def _check(self, entry: Entry) -> None:
        name = self._stored(entry)
        if name not in self._where:
            if entry.optional:
                return
            raise CorruptModelError(f"{self._path} lacks the tensor {name!r}, which its metadata call for")
        header = self._where[name]
        tensor = header.tensors[name]
        shape = tensor.shape[::-1]
        wanted = entry.size
        if entry.within and name != entry.name:
            wanted = (entry.within[2], *wanted[1:])
        if shape != wanted:
            raise CorruptModelError(
                f"{header.path}: tensor {name!r} has shape {shape}, the file's metadata call for {wanted}"
            )
        if not readable(tensor.type):
            raise UnsupportedModelError(
                f"{header.path}: tensor {name!r} is of type {tensor.type}, which this release of gguf "
                "cannot dequantise: convert from another level, or from the original checkpoint"
            )

    def _read(self, entry: Entry) -> Array:
        name = self._stored(entry)
        if name not in self._where:
            return np.zeros(entry.size, np.float32)
        whole = dequantised(self._where[name], name)
        if entry.within is None or name == entry.name:
            return whole
        start = entry.within[1]
        return whole[start : start + entry.size[0]]


@cache
def readable(kind: int) -> bool:
    """Whether gguf's NumPy code dequantises a type of ggml."""
    try:
        found = gguf.GGMLQuantizationType(kind)
        gguf.dequantize(np.zeros((1, BLOCKS[kind][1]), np.uint8), found)
    except (ValueError, NotImplementedError):
        return False
    return True


def dequantised(header: Header, name: str) -> Array:
    """Return a tensor of a file in float32, its shape as NumPy has it: the row's length last.

    Raises CorruptModelError for one that is not finite.
    """
    tensor = header.tensors[name]
    weights, size = BLOCKS[tensor.type]
    row = tensor.shape[0] if tensor.shape else 1
    kind = gguf.GGMLQuantizationType(tensor.type)
    out: Array = np.empty(tensor.shape[::-1], np.float32)
    rows = out.reshape(-1, row)
    width = row // weights * size
    data = np.memmap(header.path, np.uint8, "r", header.data + tensor.offset, (len(rows), width))
    step = max(1, AT_ONCE // row)
    with np.errstate(all="ignore"):  # what is not finite is reported by name
        for at in range(0, len(rows), step):
            rows[at : at + step] = gguf.dequantize(np.array(data[at : at + step]), kind)
    if not np.isfinite(out).all():
        raise CorruptModelError(f"{header.path}: tensor {name!r} holds NaN or infinity")
    return out
