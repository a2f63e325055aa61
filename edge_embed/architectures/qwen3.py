"""Qwen3 (arXiv 2505.09388): causal, with normed queries and keys; v5-text-small, Qwen3-Embedding."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from ._llama import PREFIXES, TABLE, UNUSED, Config, read_llama

__all__ = ["ATTENTION", "PREFIXES", "TABLE", "UNUSED", "Config", "read"]

ATTENTION: Final = "causal"


def read(config: Mapping[str, Any]) -> Config:
    """Read and check the numbers."""
    return read_llama(config, qk_norm=True, attention=ATTENTION)
