"""A checkpoint's tensors, names and shapes as they are, each changed or noticed when it is asked for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

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


class Named(Derived):
    """Some of a checkpoint's tensors under other names: `names` maps them to the checkpoint's."""

    def __init__(self, tensors: Mapping[str, Array], names: Mapping[str, str]) -> None:
        super().__init__(tensors)
        self._of = dict(names)
        self._names = dict.fromkeys(names)

    def __getitem__(self, name: str) -> Array:
        return self._tensors[self._of[name]]

    def shape(self, name: str) -> tuple[int, ...]:
        """Return a tensor's shape without computing its values."""
        return shape_of(self._tensors, self._of[name])
