"""DistilBERT in llama.cpp, where it is a BERT."""

from __future__ import annotations

from edge_embed.architectures.distilbert import NAMES, Config

from . import Entry, _bert
from ._bert import metadata

__all__ = ["NAME", "entries", "metadata"]

NAME = "bert"


def entries(config: Config, max_tokens: int) -> list[Entry]:
    """List the tensors."""
    return _bert.entries(config, NAMES, max_tokens)
