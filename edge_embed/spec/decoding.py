"""JSON files; parsed JSON -> dataclasses, strictly: unknown, missing or ill-typed values raise, and say where."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, Literal, get_args, get_origin, get_type_hints

from edge_embed.errors import CorruptModelError, listing


def decode(kind: Any, value: Any, where: str) -> Any:
    """Turn parsed JSON into `kind`: a dataclass, tuple, mapping, literal, union with None, or a plain type.

    Raises CorruptModelError that begins with `where` and the key.
    """
    if dataclasses.is_dataclass(kind):
        if not isinstance(value, dict):
            raise CorruptModelError(f"{where}: expected an object, got {value!r}")
        hints = get_type_hints(kind)
        required = {f.name for f in dataclasses.fields(kind) if f.default is f.default_factory is dataclasses.MISSING}
        if unknown := value.keys() - hints.keys():
            raise CorruptModelError(f"{where}: unknown keys {listing(unknown)}; known are {listing(hints)}")
        if missing := required - value.keys():
            raise CorruptModelError(f"{where}: missing keys {listing(missing)}")
        return kind(**{key: decode(hints[key], item, f"{where}: {key}") for key, item in value.items()})  # type: ignore[operator]
    args = get_args(kind)
    if get_origin(kind) is tuple and isinstance(value, list):
        return tuple(decode(args[0], item, where) for item in value)
    if get_origin(kind) is Mapping and isinstance(value, dict):
        return {key: decode(args[1], item, f"{where}.{key}") for key, item in value.items()}
    if get_origin(kind) is Literal and value in args and isinstance(value, str):
        return value
    if type(None) in args:
        return None if value is None else decode(next(a for a in args if a is not type(None)), value, where)
    if kind is float and type(value) in (int, float):
        return float(value)
    if kind in (str, int, bool) and type(value) is kind:
        return value
    raise CorruptModelError(f"{where}: {value!r} is not {getattr(kind, '__name__', kind)}")
