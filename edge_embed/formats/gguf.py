"""The header of a GGUF file: metadata and the list of tensors; no tensor is read.

Never trusts a length: whatever the bytes say, what is read and what is kept is bounded by the file's own size. Format:
docs/gguf.md of ggml-org/ggml, versions 2 and 3, little-endian.
"""

from __future__ import annotations

import mmap
import re
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edge_embed.errors import CorruptModelError, ModelNotFoundError, UnsupportedModelError, listing

MAGIC = b"GGUF"
VERSIONS = (2, 3)
STRING, ARRAY = 8, 9
# Scalar types by their number, as struct calls them.
SCALARS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
SHORT = 64  # elements; longer arrays are the vocabulary's, of which only the length is kept
DIMENSIONS = 4


@dataclass(frozen=True)
class Array:
    """An array too long to be kept: its type's number and its length."""

    type: int
    length: int


@dataclass(frozen=True)
class Tensor:
    """One tensor: sizes (the row's length first), its ggml type's number, where it begins in the data."""

    shape: tuple[int, ...]
    type: int
    offset: int


@dataclass(frozen=True)
class Header:
    """What a GGUF file says of itself; `data` is where, in bytes, the first tensor lies."""

    metadata: Mapping[str, Any]
    tensors: Mapping[str, Tensor]
    data: int


def read_header(path: Path) -> Header:
    """Read a GGUF file's header; raise CorruptModelError for bytes that cannot be one, with the place."""
    try:
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            return _Reader(path, data).header()
    except (OSError, ValueError) as error:  # ValueError: an empty file cannot be mapped
        raise CorruptModelError(f"{path} cannot be read: {error}") from error


class _Reader:
    """Walks over the bytes; every step is checked against the end."""

    def __init__(self, path: Path, data: mmap.mmap) -> None:
        self._path, self._data, self._at = path, data, 0

    def header(self) -> Header:
        if self._take(4) != MAGIC:
            raise CorruptModelError(f"{self._path} is not a GGUF file: it does not begin with {MAGIC.decode()}")
        version = self._scalar("I")
        if version not in VERSIONS:
            hint = "; it is big-endian" if version == int.from_bytes((3).to_bytes(4, "little"), "big") else ""
            raise UnsupportedModelError(f"{self._path} is GGUF version {version}; {VERSIONS} can be read{hint}")
        tensors, keys = self._count(24), self._count(13)
        metadata = {self._string(): self._value(self._scalar("I")) for _ in range(keys)}
        listed = {self._string(): self._tensor() for _ in range(tensors)}
        step = metadata.get("general.alignment", 32)
        if not isinstance(step, int) or step < 1:
            raise self._corrupt(f"general.alignment is {step!r}")
        start = -(-self._at // step) * step
        end = start + max((tensor.offset for tensor in listed.values()), default=0)
        if end > len(self._data) or (listed and end == len(self._data)):
            raise self._corrupt(f"its last tensor begins at {end}, beyond the end: it was cut short")
        return Header(metadata, listed, start)

    def _tensor(self) -> Tensor:
        dimensions = self._scalar("I")
        if dimensions > DIMENSIONS:
            raise self._corrupt(f"a tensor has {dimensions} dimensions")
        shape = tuple(self._scalar("Q") for _ in range(dimensions))
        return Tensor(shape, self._scalar("I"), self._scalar("Q"))

    def _value(self, kind: int) -> Any:
        if kind == STRING:
            return self._string()
        if kind != ARRAY:
            return self._scalar(self._format(kind))
        element = self._scalar("I")
        if element == STRING:
            length = self._count(8)
            if length > SHORT:
                self._skip_strings(length)
                return Array(element, length)
            return [self._string() for _ in range(length)]
        if element == ARRAY:
            raise self._corrupt("it has an array of arrays")
        form = self._format(element)
        length = self._count(struct.calcsize(form))
        if length > SHORT:
            self._skip(length * struct.calcsize(form))
            return Array(element, length)
        return [self._scalar(form) for _ in range(length)]

    def _format(self, kind: int) -> str:
        if kind not in SCALARS:
            raise self._corrupt(f"{kind} is no type of a value")
        return SCALARS[kind]

    def _count(self, min_size: int) -> int:
        """Read how many elements follow, of at least so many bytes each."""
        count = int(self._scalar("Q"))
        if count * min_size > len(self._data) - self._at:
            raise self._corrupt(f"{count:,} elements cannot follow")
        return count

    def _string(self) -> str:
        return self._take(self._scalar("Q")).decode("utf-8", "replace")

    def _skip_strings(self, length: int) -> None:
        """Step over a vocabulary of hundreds of thousands, in a loop as tight as Python has."""
        data, at, end = self._data, self._at, len(self._data)
        for _ in range(length):
            at += 8 + int.from_bytes(data[at : at + 8], "little")
            if at > end:
                raise self._corrupt("a list of texts does not end: it was cut short, or damaged")
        self._at = at

    def _scalar(self, form: str) -> Any:
        (value,) = struct.unpack("<" + form, self._take(struct.calcsize(form)))
        return value

    def _skip(self, size: int) -> None:
        if size > len(self._data) - self._at:
            raise self._corrupt(f"{size:,} bytes cannot follow: it was cut short, or damaged")
        self._at += size

    def _take(self, size: int) -> bytes:
        start = self._at
        self._skip(size)
        return self._data[start : self._at]

    def _corrupt(self, what: str) -> CorruptModelError:
        return CorruptModelError(f"{self._path} is no whole GGUF file: at byte {self._at:,} {what}; fetch it again")


PART = re.compile(r"(.*)-(\d{5})-of-(\d{5})\.gguf", re.I)


def parts_of(path: Path) -> list[Path]:
    """List the parts of a split file by any of them, or the file alone; ModelNotFoundError when one is missing."""
    part = PART.fullmatch(path.name)
    if part is None:
        return [path]
    parts = [path.with_name(f"{part[1]}-{n:05}-of-{part[3]}.gguf") for n in range(1, int(part[3]) + 1)]
    if missing := [other.name for other in parts if not other.is_file()]:
        raise ModelNotFoundError(f"{path} is one part of several, and {listing(missing)} are not beside it")
    return parts
