"""EuroBERT in llama.cpp; v5-text-nano."""

from __future__ import annotations

from edge_embed.architectures.eurobert import Config

from . import Entry, _llama
from ._llama import UNREAD, config_of, metadata

__all__ = ["NAME", "UNREAD", "config_of", "entries", "metadata"]

NAME = "eurobert"


def entries(config: Config, max_tokens: int) -> list[Entry]:
    """List the tensors; raises UnsupportedModelError for heads that llama.cpp has no place for."""
    _llama.check_width(config, "EuroBERT")
    return _llama.entries(config)
