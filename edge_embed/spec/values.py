"""Parsed JSON of other people's files, within bounds, and its values by key, each of the type that it must have.

Whoever looks into a file by these gets a CorruptModelError with the file, the key and the value, and nothing else.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from edge_embed.errors import CorruptModelError

DEEPEST = 64  # objects and arrays in one another; Python itself gives up where its stack happens to end
LARGEST = (1 << 31) - 1  # of a number that engines keep as int32


def parse(data: str | bytes, where: object) -> Any:
    """Parse JSON; raise CorruptModelError for what is none, is nested too deeply, or holds halves of characters."""
    try:
        text = data if isinstance(data, str) else data.decode("utf-8")
        value = json.loads(text)
        if "\\ud" in text or "\\uD" in text:
            json.dumps(value, ensure_ascii=False).encode()  # a lone surrogate can be neither printed nor a file's name
    except (ValueError, RecursionError) as error:
        raise CorruptModelError(f"{where} is not JSON: {error}; fetch it again") from error
    if _depth(value) > DEEPEST:
        raise CorruptModelError(f"{where} is not JSON that a model needs: it is nested more than {DEEPEST} deep")
    return value


def parse_object(data: str | bytes, where: object) -> dict[str, Any]:
    """Parse JSON that holds an object; raises as `parse`, and for another kind of value."""
    value = parse(data, where)
    if not isinstance(value, dict):
        raise CorruptModelError(f"{where} holds a {type(value).__name__}, not an object; fetch it again")
    return value


def whole(values: Mapping[str, Any], key: str, where: object, default: int | None = None, least: int = 1) -> int:
    """Return a whole number from `least` to LARGEST; `default`, where there is one, if it is absent or null."""
    value = values.get(key)
    if value is None and default is not None:
        return default
    if isinstance(value, int) and not isinstance(value, bool) and least <= value <= LARGEST:
        return value
    raise CorruptModelError(f"{where}: {key}={shown(value)} is not a whole number from {least} to {LARGEST:,}")


def plausible(value: object, default: int) -> int:
    """Return a count from 1 to LARGEST as it is; `default` for anything else, where an estimate is all that is made."""
    return value if isinstance(value, int) and 0 < value <= LARGEST else default


def real(values: Mapping[str, Any], key: str, where: object, default: float | None = None) -> float:
    """Return a finite number from 0 on; `default`, where there is one, if it is absent or null."""
    value = values.get(key)
    if value is None and default is not None:
        return default
    if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= LARGEST**2:
        return float(value)
    raise CorruptModelError(f"{where}: {key}={shown(value)} is not a number from 0 on")


def text(values: Mapping[str, Any], key: str, where: object) -> str:
    """Return a text that is not empty."""
    value = values.get(key)
    if not isinstance(value, str) or not value:
        raise CorruptModelError(f"{where}: {key}={shown(value)} is not a text")
    return value


def section(values: Mapping[str, Any], key: str, where: object) -> dict[str, Any]:
    """Return an object within an object; an empty one if it is absent or null."""
    value = values.get(key)
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise CorruptModelError(f"{where}: {key}={shown(value)} is not an object")
    return value


def texts(values: Mapping[str, Any], key: str, where: object) -> dict[str, str]:
    """Return an object of texts; an empty one if it is absent or null."""
    found = section(values, key, where)
    return {name: text(found, name, f"{where}: {key}") if found[name] != "" else "" for name in found}


def shown(value: object) -> str:
    """Write a value for an error message, in brief."""
    whole_value = repr(value)
    return whole_value if len(whole_value) <= 100 else f"{whole_value[:100]}..."


def _depth(value: Any) -> int:
    """Count how deep objects and arrays lie in one another, up to one more than DEEPEST."""
    depth, level = 0, [value]
    while depth <= DEEPEST and (level := [one for one in level if isinstance(one, dict | list)]):
        depth += 1
        level = [inner for one in level for inner in (one.values() if isinstance(one, dict) else one)]
    return depth
