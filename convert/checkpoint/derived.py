"""A checkpoint's tensors, names and shapes as they are, each changed or noticed when it is asked for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from .arrays import Array, shape_of


class Derived(Mapping[str, Array]):
    """What `__getitem__` of a subclass makes of the tensors beneath."""

    def __init__(self, tensors: Mapping[str, Array]) -> None:
        self._tensors = tensors
        self._names = dict.fromkeys(tensors)  # a mapping's own `in` may read a tensor to answer

    def __getitem__(self, name: str) -> Array:
        return self._tensors[name]

    def __contains__(self, name: object) -> bool:
        return name in self._names

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)

    def shape(self, name: str) -> tuple[int, ...]:
        """Return a tensor's shape without computing its values."""
        return shape_of(self._tensors, name)


class Stacked(Derived):
    """A checkpoint's tensors under other names, some of them several of it, one below the other."""

    def __init__(self, tensors: Mapping[str, Array], sources: Mapping[str, tuple[str, ...]]) -> None:
        super().__init__(tensors)
        self._sources = dict(sources)
        self._names = dict.fromkeys(sources)

    def __getitem__(self, name: str) -> Array:
        parts = [self._tensors[part] for part in self._sources[name]]
        return np.concatenate(parts) if len(parts) > 1 else parts[0]

    def shape(self, name: str) -> tuple[int, ...]:
        """Return a tensor's shape without computing its values."""
        first, *others = (shape_of(self._tensors, part) for part in self._sources[name])
        return (first[0] + sum(shape[0] for shape in others), *first[1:]) if others else first  # () of a scalar
