"""Checks that the configs of several architectures share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any, TypeVar, get_type_hints

from edge_embed.errors import CorruptModelError, UnsupportedModelError, listing
from edge_embed.spec import values
from edge_embed.spec.decoding import decode
from edge_embed.spec.values import shown

CONFIG = "config.json"
MOST_LAYERS = 1024
T = TypeVar("T")


def check_config(config: Mapping[str, Any], allowed: Mapping[str, tuple[Any, ...]], needed: Sequence[str]) -> None:
    """Refuse a config without the `needed` keys, or with a value of an `allowed` key that is not implemented."""
    if missing := [key for key in needed if key not in config]:
        raise CorruptModelError(f"config.json lacks {listing(missing)}")
    for key, known in allowed.items():
        if key in config and config[key] not in known:
            raise UnsupportedModelError(
                f"config.json: {key}={shown(config[key])} is not implemented; {' or '.join(map(repr, known))} is"
            )


def whole(config: Mapping[str, Any], key: str, default: int | None = None, least: int = 1) -> int:
    """Return a whole number of config.json, from `least` on; raise CorruptModelError for another value."""
    return values.whole(config, key, CONFIG, default, least)


def real(config: Mapping[str, Any], key: str, default: float | None = None) -> float:
    """Return a number of config.json; raise CorruptModelError for another value."""
    return values.real(config, key, CONFIG, default)


def flag(config: Mapping[str, Any], key: str, default: bool) -> bool:
    """Return true or false of config.json, `default` if it is absent; raise CorruptModelError for another value."""
    found: bool = decode(bool, config.get(key, default), f"{CONFIG}: {key}")
    return found


def section(config: Mapping[str, Any], key: str) -> dict[str, Any]:
    """Return an object within config.json, empty if it is absent; raise CorruptModelError for another value."""
    return values.section(config, key, CONFIG)


def numbers(kind: type[T], config: Mapping[str, Any]) -> T:
    """Make a dataclass of what config.json says under its fields' names; raise CorruptModelError for a wrong value.

    Whole numbers count something and begin at 1.
    """
    hints = get_type_hints(kind)
    named = [field.name for field in fields(kind) if field.name in config]  # type: ignore[arg-type]
    found: dict[str, Any] = {}
    for name in named:
        if hints[name] is int:
            found[name] = whole(config, name)
        elif hints[name] is float:
            found[name] = real(config, name)
        else:
            found[name] = decode(hints[name], config[name], f"{CONFIG}: {name}")
    check_layers(found.get("num_hidden_layers", 1))
    return kind(**found)


def check_layers(layers: int) -> None:
    """Refuse more layers than any model has: they would be made before a tensor was missed."""
    if layers > MOST_LAYERS:
        raise CorruptModelError(f"{CONFIG}: num_hidden_layers={layers} is more than {MOST_LAYERS}, which no model has")


def check_heads(size: int, heads: int) -> None:
    """Refuse heads that do not share the hidden size evenly."""
    if size % heads:
        raise CorruptModelError(f"config.json: hidden_size={size} is not a multiple of num_attention_heads={heads}")
