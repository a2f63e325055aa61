"""Parsed JSON <-> dataclasses, strictly: unknown, missing or ill-typed values raise, and say where.

A field whose metadata have a `key` is called so in JSON.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, Literal, get_args, get_origin, get_type_hints

from edge_embed.errors import CorruptModelError, listing

from .values import shown

LARGEST_INT, LARGEST_FLOAT = 1 << 63, 1e300  # what others can keep


def decode(kind: Any, value: Any, where: str) -> Any:
    """Turn parsed JSON into `kind`: a dataclass, tuple, mapping, literal, union with None, or a plain type.

    Raises CorruptModelError that begins with `where` and the key.
    """
    if dataclasses.is_dataclass(kind):
        if not isinstance(value, dict):
            raise CorruptModelError(f"{where}: expected an object, got {shown(value)}")
        hints, fields = get_type_hints(kind), {_key(field): field for field in dataclasses.fields(kind)}
        required = {
            key for key, field in fields.items() if field.default is field.default_factory is dataclasses.MISSING
        }
        if unknown := value.keys() - fields.keys():
            raise CorruptModelError(f"{where}: unknown keys {listing(unknown)}; known are {listing(fields)}")
        if absent := required - value.keys():
            raise CorruptModelError(f"{where}: missing keys {listing(absent)}")
        named = {fields[key].name: (key, item) for key, item in value.items()}
        found = {name: decode(hints[name], item, f"{where}: {key}") for name, (key, item) in named.items()}
        return kind(**found)  # type: ignore[operator]
    args = get_args(kind)
    if get_origin(kind) is tuple and isinstance(value, list):
        return tuple(decode(args[0], item, where) for item in value)
    if get_origin(kind) is Mapping and isinstance(value, dict):
        return {key: decode(args[1], item, f"{where}.{key}") for key, item in value.items()}
    if get_origin(kind) is Literal and value in args and isinstance(value, str):
        return value
    if type(None) in args:
        return None if value is None else decode(next(a for a in args if a is not type(None)), value, where)
    if kind is float and type(value) in (int, float) and abs(value) < LARGEST_FLOAT:  # NaN and infinity are not
        return float(value)
    if kind in (str, int, bool) and type(value) is kind and (kind is not int or abs(value) < LARGEST_INT):
        return value
    raise CorruptModelError(f"{where}: {shown(value)} is not {getattr(kind, '__name__', kind)}")


def encode(value: Any) -> Any:
    """Turn a dataclass, and what it holds, into what `decode` reads."""
    if dataclasses.is_dataclass(value):
        named = [(field, getattr(value, field.name)) for field in dataclasses.fields(value)]
        said = [(field, item) for field, item in named if item != field.default or not field.metadata.get("optional")]
        return {_key(field): encode(item) for field, item in said}
    if isinstance(value, Mapping):
        return {key: encode(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [encode(item) for item in value]
    return value


def _key(field: dataclasses.Field[Any]) -> str:
    return str(field.metadata.get("key", field.name))
