"""Qwen2 in llama.cpp; KaLM-embedding-mini, gte-Qwen2."""

from __future__ import annotations

from edge_embed.architectures.qwen2 import Config

from . import Entry, _llama
from ._llama import UNREAD, config_of, metadata

__all__ = ["NAME", "UNREAD", "config_of", "entries", "metadata"]

NAME = "qwen2"


def entries(config: Config, max_tokens: int) -> list[Entry]:
    """List the tensors; raises UnsupportedModelError for heads that llama.cpp has no place for."""
    _llama.check_width(config, "Qwen2")
    return _llama.entries(config)
