"""Llama in llama.cpp, without the LM head."""

from __future__ import annotations

from edge_embed.architectures.llama import Config

from . import Entry, _llama
from ._llama import UNREAD, config_of, metadata

__all__ = ["NAME", "UNREAD", "config_of", "entries", "metadata"]

NAME = "llama"


def entries(config: Config, max_tokens: int) -> list[Entry]:
    """List the tensors."""
    return _llama.entries(config, neighbours=True)
