"""The header of a GGUF file: metadata and the list of tensors; no tensor is read.

Never trusts a length: whatever the bytes say, what is read and what is kept is bounded by the file's own size. Format:
docs/gguf.md of ggml-org/ggml, versions 2 and 3, little-endian.
"""

from __future__ import annotations

import math
import mmap
import re
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from edge_embed.errors import CorruptModelError, ModelNotFoundError, UnsupportedModelError, listing
from edge_embed.spec import values

MAGIC = b"GGUF"
VERSIONS = (2, 3)
STRING, ARRAY = 8, 9
# Scalar types by their number, as struct calls them.
SCALARS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
# ggml's types by their number: weights in a block, and its bytes (ggml.c, type_traits). No engine computes with others.
BLOCKS = {
    **{0: (1, 4), 1: (1, 2), 2: (32, 18), 3: (32, 20), 6: (32, 22), 7: (32, 24), 8: (32, 34), 9: (32, 40)},
    **{10: (256, 84), 11: (256, 110), 12: (256, 144), 13: (256, 176), 14: (256, 210), 15: (256, 292), 16: (256, 66)},
    **{17: (256, 74), 18: (256, 98), 19: (256, 50), 20: (32, 18), 21: (256, 110), 22: (256, 82), 23: (256, 136)},
    **{24: (1, 1), 25: (1, 2), 26: (1, 4), 27: (1, 8), 28: (1, 8), 29: (256, 56), 30: (1, 2), 34: (256, 54)},
    **{35: (256, 66), 39: (32, 17), 40: (64, 36), 41: (128, 18)},
}
# Architectures of llama.cpp that keep no keys and values, and are never causal (llama-model.cpp, create_memory).
ENCODERS = {
    *("bert", "dream", "eurobert", "gemma-embedding", "jina-bert-v2", "jina-bert-v3", "llada", "llada-moe"),
    *("modern-bert", "neo-bert", "nomic-bert", "nomic-bert-moe", "rnd1", "wavtokenizer-dec"),
}
LONGEST = 16 << 20  # bytes of a text that is kept
SHORT = 64  # elements; longer arrays are the vocabulary's, of which only the length is kept
DIMENSIONS = 4


@dataclass(frozen=True)
class Array:
    """An array too long to be kept: its type's number, its length, and where in the file its elements begin."""

    type: int
    length: int
    at: int = field(default=0, compare=False)


@dataclass(frozen=True)
class Tensor:
    """One tensor: sizes (the row's length first), its ggml type's number, where it begins in the data."""

    shape: tuple[int, ...]
    type: int
    offset: int


@dataclass(frozen=True)
class Header:
    """What a GGUF file says of itself; `data` is where, in bytes, the first tensor lies.

    Values are had by the type that they must be of; for another, CorruptModelError names the file, key and value.
    """

    metadata: Mapping[str, Any]
    tensors: Mapping[str, Tensor]
    data: int
    path: Path = field(compare=False)

    @property
    def architecture(self) -> str:
        """What the file says that the model is, and what most keys begin with."""
        name = self.metadata.get("general.architecture")
        if not isinstance(name, str) or not name:
            raise CorruptModelError(
                f"{self.path} does not name its architecture (general.architecture is {values.shown(name)})"
            )
        return name

    @property
    def causal(self) -> bool:
        """Whether a token attends to those before it alone; where the file does not say, the architecture does."""
        return self.flag(f"{self.architecture}.attention.causal", self.architecture not in ENCODERS)

    def whole(self, key: str, default: int | None = None, least: int = 1) -> int:
        """Return a whole number from `least` on; `default`, where there is one, if it is absent."""
        return values.whole(self.metadata, key, self.path, default, least)

    def real(self, key: str, default: float | None = None) -> float:
        """Return a number from 0 on; `default`, where there is one, if it is absent."""
        return values.real(self.metadata, key, self.path, default)

    def flag(self, key: str, default: bool) -> bool:
        """Return whether something is so; `default` if the file does not say."""
        value = self.metadata.get(key, default)
        if not isinstance(value, bool):
            raise CorruptModelError(f"{self.path}: {key}={values.shown(value)} is not true or false")
        return value

    def text(self, key: str) -> str | None:
        """Return a text; None where there is none."""
        return values.text(self.metadata, key, self.path) if self.metadata.get(key) not in (None, "") else None


def read_numbers(header: Header, key: str) -> list[Any]:
    """Return an array of numbers, however long; an empty list where there is none."""
    found = header.metadata.get(key)
    if isinstance(found, list) and not any(isinstance(one, str) for one in found):
        return found
    if not isinstance(found, Array) or found.type not in SCALARS:
        return []
    form = f"<{found.length}{SCALARS[found.type]}"
    try:
        with header.path.open("rb") as file:
            file.seek(found.at)
            return [*struct.unpack(form, file.read(struct.calcsize(form)))]
    except (OSError, struct.error) as error:
        raise CorruptModelError(f"{header.path} cannot be read: {error}") from error


def read_strings(header: Header, key: str) -> list[bytes]:
    """Return an array of texts, however long, as bytes; an empty list where there is none."""
    found = header.metadata.get(key)
    if isinstance(found, list) and all(isinstance(one, str) for one in found):
        return [one.encode() for one in found]
    if not isinstance(found, Array) or found.type != STRING:
        return []
    texts, at = [], found.at
    try:
        with header.path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            for _ in range(found.length):  # read_header saw that they end within the file
                start = at + 8
                at = start + int.from_bytes(data[at:start], "little")
                texts.append(data[start:at])
    except (OSError, ValueError) as error:
        raise CorruptModelError(f"{header.path} cannot be read: {error}") from error
    return texts


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
        if len(metadata) < keys or len(listed) < tensors:
            raise self._corrupt("it has two keys or two tensors of one name")
        step = metadata.get("general.alignment", 32)
        if type(step) is not int or step < 1 or step & (step - 1):
            raise self._corrupt(f"general.alignment is {values.shown(step)}, which is no power of 2")
        start = -(-self._at // step) * step
        end = start + max((tensor.offset for tensor in listed.values()), default=0)
        if end > len(self._data) or (listed and end == len(self._data)):
            raise self._corrupt(f"its last tensor begins at {end}, beyond the end: it was cut short")
        for name, tensor in listed.items():
            self._check(name, tensor, step, len(self._data) - start)
        return Header(metadata, listed, start, self._path)

    def _check(self, name: str, tensor: Tensor, step: int, room: int) -> None:
        """Refuse a tensor of no known type, of rows that are not whole blocks, or that does not lie in the file."""
        if tensor.type not in BLOCKS:
            raise UnsupportedModelError(f"{self._path}: tensor {name!r:.80} is of type {tensor.type}, unknown here")
        weights, size = BLOCKS[tensor.type]
        count, row = math.prod(tensor.shape), tensor.shape[0] if tensor.shape else 1
        if count < 1 or row % weights or tensor.offset % step:
            raise self._corrupt(f"tensor {name!r:.80} cannot be {tensor}")
        if tensor.offset + count // weights * size > room:
            raise self._corrupt(f"tensor {name!r:.80} reaches beyond the end: it was cut short")

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
                at = self._at
                self._skip_strings(length)
                return Array(element, length, at)
            return [self._string() for _ in range(length)]
        if element == ARRAY:
            raise self._corrupt("it has an array of arrays")
        form = self._format(element)
        length = self._count(struct.calcsize(form))
        if length > SHORT:
            at = self._at
            self._skip(length * struct.calcsize(form))
            return Array(element, length, at)
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
        size = self._scalar("Q")
        if LONGEST < size <= len(self._data):
            raise self._corrupt(f"a text of {size:,} bytes follows, which no model has")
        return self._take(size).decode("utf-8", "replace")

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


def part_names(name: str) -> list[str]:
    """List the names of the parts of a split file by any of them, or the name alone."""
    part = PART.fullmatch(name)
    if part is None:
        return [name]
    return [f"{part[1]}-{n:05}-of-{part[3]}.gguf" for n in range(1, int(part[3]) + 1)]


def parts_of(path: Path) -> list[Path]:
    """List the parts of a split file by any of them, or the file alone; ModelNotFoundError when one is missing."""
    parts = [path.with_name(name) for name in part_names(path.name)]
    if len(parts) > 1 and (missing := [other.name for other in parts if not other.is_file()]):
        raise ModelNotFoundError(f"{path} is one part of several, and {listing(missing)} are not beside it")
    return parts
