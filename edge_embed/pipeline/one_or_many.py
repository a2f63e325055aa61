"""One input -> one vector, several -> rows: the rule that all encoding methods share, and its types."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Concatenate, ParamSpec, Protocol, TypeVar, cast, overload

from edge_embed.images.sources import ImageInput
from edge_embed.vectors import Array, Matrix, Vector

from .inputs import Input

Item = TypeVar("Item", contravariant=True)
P = ParamSpec("P")
Method = Callable[Concatenate[Any, Any, P], Array]


class OneOrMany(Protocol[Item, P]):
    """A method that gives (dim,) for one input and (n, dim) for several, whatever its options are."""

    @overload  # a str is a sequence of str too; then this one counts
    def __call__(self, inputs: Item, *args: P.args, **options: P.kwargs) -> Vector: ...

    @overload
    def __call__(self, inputs: Sequence[Item], *args: P.args, **options: P.kwargs) -> Matrix: ...


def one_text_or_many(method: Method[P]) -> OneOrMany[Input, P]:
    """Make a method of several texts one of a single text as well, which a str or a dict is."""
    return cast(OneOrMany[Input, P], _one_or_many(method, lambda inputs: isinstance(inputs, str | Mapping)))


def one_image_or_many(method: Method[P]) -> OneOrMany[ImageInput, P]:
    """Make a method of several images one of a single image as well, which all but lists and tuples are."""
    return cast(OneOrMany[ImageInput, P], _one_or_many(method, lambda images: not isinstance(images, list | tuple)))


def _one_or_many(method: Callable[..., Array], is_one: Callable[[object], bool]) -> Callable[..., Array]:
    name = [*inspect.signature(method).parameters][1]  # of what is embedded, which may be given by name, after self

    @functools.wraps(method)
    def call(*args: Any, **options: Any) -> Array:
        # What does not fit the method raises TypeError there; to bind arguments here takes a tenth of a query's way.
        if len(args) > 1 and is_one(args[1]):
            vector: Array = method(args[0], [args[1]], *args[2:], **options)[0]
        elif len(args) == 1 and name in options and is_one(options[name]):
            vector = method(*args, **options | {name: [options[name]]})[0]
        else:
            vector = method(*args, **options)
        return vector

    return call
