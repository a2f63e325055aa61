"""Checks that the configs of several architectures share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from edge_embed.errors import CorruptModelError, UnsupportedModelError, listing


def check_config(config: Mapping[str, Any], allowed: Mapping[str, tuple[Any, ...]], needed: Sequence[str]) -> None:
    """Refuse a config without the `needed` keys, or with a value of an `allowed` key that is not implemented."""
    if missing := [key for key in needed if key not in config]:
        raise CorruptModelError(f"config.json lacks {listing(missing)}")
    for key, values in allowed.items():
        if key in config and config[key] not in values:
            raise UnsupportedModelError(
                f"config.json: {key}={config[key]!r} is not implemented; {' or '.join(map(repr, values))} is"
            )


def check_heads(size: int, heads: int) -> None:
    """Refuse heads that do not share the hidden size evenly."""
    if size % heads:
        raise CorruptModelError(f"config.json: hidden_size={size} is not a multiple of num_attention_heads={heads}")
