"""Qwen3 in llama.cpp; v5-text-small, Qwen3-Embedding."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..onnx_blocks import PREFIXES, UNUSED, shape_of
from . import Entry, Value, _llama

__all__ = ["PREFIXES", "UNUSED", "entries", "metadata"]


def metadata(config: Mapping[str, Any]) -> dict[str, Value]:
    """Return llama.cpp's keys."""
    return _llama.metadata(config, shape_of(config, qk_norm=True, causal=True))


def entries(config: Mapping[str, Any], max_tokens: int) -> list[Entry]:
    """List the tensors."""
    return _llama.entries(config, shape_of(config, qk_norm=True, causal=True))
