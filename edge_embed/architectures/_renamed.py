"""Tensors of one architecture under the names of other code: where each of those that are asked for here lies."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol, TypeVar

from edge_embed.errors import CorruptModelError


@dataclass(frozen=True)
class Renamed:
    """A module's whole name elsewhere, as a regular expression, and its name here.

    Several names share its rows, in equal parts and in this order.
    """

    pattern: str
    names: tuple[str, ...]


class _Rows(Protocol):
    @property
    def shape(self) -> tuple[int, ...]: ...

    def __getitem__(self: T, rows: slice) -> T: ...


T = TypeVar("T", bound=_Rows)


@dataclass(frozen=True)
class Place:
    """Where a tensor lies: in one of the checkpoint's, as one of so many equal parts of its rows."""

    tensor: str
    part: int = 0
    parts: int = 1

    def shape(self, whole: tuple[int, ...]) -> tuple[int, ...]:
        """Return the shape of the part of a tensor; raise CorruptModelError for rows that cannot be shared evenly."""
        if self.parts == 1:
            return whole
        if not whole or whole[0] % self.parts:
            raise CorruptModelError(f"tensor {self.tensor!r} has shape {whole}, which is not {self.parts} equal parts")
        return (whole[0] // self.parts, *whole[1:])

    def of(self, whole: T) -> T:
        """Return the part of the tensor; raises as `shape`."""
        if self.parts == 1:
            return whole
        count = self.shape(tuple(whole.shape))[0]
        return whole[self.part * count : (self.part + 1) * count]


def places(tensors: Iterable[str], prefixes: tuple[str, ...], renamed: Iterable[Renamed]) -> dict[str, Place]:
    """Map what a checkpoint's tensors are called here to where they lie; what `renamed` does not know stays as it is.

    Prefixes stay as well. Raises CorruptModelError for two tensors that are one here.
    """
    rules = [(re.compile(rule.pattern), rule.names) for rule in renamed]
    found: dict[str, Place] = {}
    for tensor in tensors:
        prefix = next((prefix for prefix in prefixes if tensor.startswith(prefix)), "")
        module, _, kind = tensor[len(prefix) :].rpartition(".")
        match, names = next(((m, names) for rule, names in rules if (m := rule.fullmatch(module))), (None, ()))
        called = [f"{prefix}{match.expand(name)}.{kind}" for name in names] if match else [tensor]
        for part, name in enumerate(called):
            if name in found:
                raise CorruptModelError(f"tensors {found[name].tensor!r} and {tensor!r} are the same part of the model")
            found[name] = Place(tensor, part, len(called))
    return found
