"""JinaBERT-v2 in llama.cpp."""

from __future__ import annotations

from typing import Any

from edge_embed.architectures.jina_bert_v2 import QK_NORM

from . import Stated
from ._post_norm import entries, metadata, numbers

__all__ = ["NAME", "config_of", "entries", "metadata"]

NAME = "jina-bert-v2"


def config_of(stated: Stated) -> dict[str, Any]:
    """Return config.json's values; whether queries and keys are normed is told by the tensors."""
    normed = "blk.0.attn_q_norm.weight" in stated.header.tensors
    return {**numbers(stated), "position_embedding_type": "alibi", "feed_forward_type": "geglu", QK_NORM: normed}
