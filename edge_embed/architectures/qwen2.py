"""Qwen2 (arXiv 2407.10671): causal or not, with biases of queries, keys and values; KaLM-embedding-mini, gte-Qwen2.

Models: KaLM-embedding-multilingual-mini, gte-Qwen2-1.5B and 7B-instruct.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from ._llama import PREFIXES, TABLE, UNUSED, Config, read_llama, within
from ._llama import qwen_window as window

__all__ = ["ATTENTION", "PREFIXES", "TABLE", "UNUSED", "Config", "read", "text_values", "window"]

ATTENTION: Final = "causal"


def read(config: Mapping[str, Any]) -> Config:
    """Read and check the numbers."""
    return read_llama(config, attention=ATTENTION, qkv_bias=True, window=window(config))


def text_values(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return config.json's values with no more positions than a window has."""
    return within(config, window(config))
