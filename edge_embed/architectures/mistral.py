"""Mistral (arXiv 2310.06825): Llama whose layers all have a window; e5-mistral, SFR-Embedding, Linq-Embed-Mistral.

Models: e5-mistral-7b-instruct, SFR-Embedding-Mistral, Linq-Embed-Mistral.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from ._checks import whole
from ._llama import PREFIXES, TABLE, UNUSED, WINDOW, Config, read_llama, within

__all__ = ["ATTENTION", "PREFIXES", "TABLE", "UNUSED", "Config", "read", "text_values", "window"]

ATTENTION: Final = "causal"


def read(config: Mapping[str, Any]) -> Config:
    """Read and check the numbers."""
    return read_llama(config, attention=ATTENTION, window=window(config))


def text_values(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return config.json's values with no more positions than the window has."""
    return within(config, window(config))


def window(config: Mapping[str, Any]) -> int | None:
    """Return the window: none where config.json says null, 4,096 where it says nothing."""
    if config.get("sliding_window", WINDOW) is None:
        return None
    return whole(config, "sliding_window", WINDOW)
