"""BERT in llama.cpp."""

from __future__ import annotations

from typing import Any

from edge_embed.architectures.bert import NAMES, Config

from . import Entry, Stated, _bert
from ._bert import POSITIONS, metadata, numbers

__all__ = ["NAME", "config_of", "entries", "metadata"]

NAME = "bert"


def entries(config: Config, max_tokens: int) -> list[Entry]:
    """List the tensors."""
    return _bert.entries(config, NAMES, max_tokens)


def config_of(stated: Stated) -> dict[str, Any]:
    """Return config.json's values; GELU is that of the paper, unless a config.json says which it is."""
    return {
        **numbers(stated),
        "hidden_act": stated.beside.get("hidden_act", "gelu"),
        "max_position_embeddings": stated.rows(POSITIONS),
    }
