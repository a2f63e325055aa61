"""NomicBERT in llama.cpp, which reads queries, keys and values apart as well as in one matrix."""

from __future__ import annotations

from typing import Any

from . import Stated
from ._post_norm import entries, metadata, numbers

__all__ = ["NAME", "config_of", "entries", "metadata"]

NAME = "nomic-bert"


def config_of(stated: Stated) -> dict[str, Any]:
    """Return config.json's values, as transformers has them."""
    return {**numbers(stated), "hidden_act": "silu", "rope_parameters": stated.rope()}
