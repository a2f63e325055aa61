"""Qwen3 in llama.cpp; v5-text-small, Qwen3-Embedding."""

from __future__ import annotations

from edge_embed.architectures.qwen3 import Config

from . import Entry, _llama
from ._llama import UNREAD, config_of, metadata

__all__ = ["NAME", "UNREAD", "config_of", "entries", "metadata"]

NAME = "qwen3"


def entries(config: Config, max_tokens: int) -> list[Entry]:
    """List the tensors."""
    return _llama.entries(config)
