"""A checkpoint's tensors as its architecture calls them here: other code's renamed, fused ones taken apart."""

from __future__ import annotations

from collections.abc import Mapping

from edge_embed.architectures import architecture, renamed
from edge_embed.architectures._renamed import Renamed, places

from .arrays import Array, shape_of
from .derived import Derived


def as_known(tensors: Mapping[str, Array], model_type: str) -> Mapping[str, Array]:
    """Return tensors by the names that an architecture's graphs ask for; raise CorruptModelError where two are one."""
    rules = renamed(model_type)
    return _Renamed(tensors, architecture(model_type).PREFIXES, rules) if rules else tensors


class _Renamed(Derived):
    def __init__(self, tensors: Mapping[str, Array], prefixes: tuple[str, ...], rules: tuple[Renamed, ...]) -> None:
        super().__init__(tensors)
        self._places = places(tensors, prefixes, rules)
        self._names = dict.fromkeys(self._places)

    def __getitem__(self, name: str) -> Array:
        place = self._places[name]
        return place.of(self._tensors[place.tensor])

    def shape(self, name: str) -> tuple[int, ...]:
        place = self._places[name]
        return place.shape(shape_of(self._tensors, place.tensor))
