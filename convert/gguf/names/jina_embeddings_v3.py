"""jina-embeddings-v3 in llama.cpp, one task merged; its own converter writes the tasks' factors into files apart."""

from __future__ import annotations

from typing import Any

from . import Stated
from ._post_norm import entries, metadata, numbers

__all__ = ["NAME", "config_of", "entries", "metadata"]

NAME = "jina-bert-v3"


def config_of(stated: Stated) -> dict[str, Any]:
    """Return config.json's values, as transformers has them."""
    return {**numbers(stated), "rope_parameters": stated.rope()}
