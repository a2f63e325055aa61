"""A source whose tensors are counted as they are read: how far a level has come."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace

from edge_embed.progress import progress

from .derived import Derived
from .source import Array, Source


@contextmanager
def watched(source: Source, what: str) -> Iterator[Source]:
    """Give the source, whose tensors are a step's progress: each that is read for the first time moves it on."""
    with progress(what, len(source.tensors), "tensors") as step:
        yield replace(source, tensors=_Watched(source.tensors, step))


class _Watched(Derived):
    """Tensors that tell when each is read for the first time."""

    def __init__(self, tensors: Mapping[str, Array], done: Callable[[int], object]) -> None:
        super().__init__(tensors)
        self._done = done
        self._read: set[str] = set()

    def __getitem__(self, name: str) -> Array:
        tensor = super().__getitem__(name)
        if name not in self._read:
            self._read.add(name)
            self._done(1)
        return tensor
