"""Qwen3 in llama.cpp; v5-text-small, Qwen3-Embedding."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ...onnx.graphs._llama import PREFIXES, UNUSED, shape_of
from . import Entry, Value, _llama

__all__ = ["NAME", "PREFIXES", "UNUSED", "entries", "metadata", "text_config"]

NAME = "qwen3"


def text_config(config: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the numbers of the part that reads text: all of them."""
    return config


def metadata(config: Mapping[str, Any]) -> dict[str, Value]:
    """Return llama.cpp's keys."""
    return _llama.metadata(config, shape_of(config, qk_norm=True, causal=True))


def entries(config: Mapping[str, Any], max_tokens: int) -> list[Entry]:
    """List the tensors."""
    return _llama.entries(config, shape_of(config, qk_norm=True, causal=True))
