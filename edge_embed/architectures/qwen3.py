"""Qwen3 (arXiv 2505.09388): causal, with normed queries and keys; v5-text-small, Qwen3-Embedding.

Models: jina-embeddings-v5-text-small, Qwen3-Embedding-0.6B, 4B and 8B.
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
    return read_llama(config, attention=ATTENTION, qk_norm=True, window=window(config))


def text_values(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return config.json's values with no more positions than a window has."""
    return within(config, window(config))
