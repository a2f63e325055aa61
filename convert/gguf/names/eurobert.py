"""EuroBERT in llama.cpp; v5-text-nano."""

from __future__ import annotations

from edge_embed.architectures.eurobert import Config
from edge_embed.errors import UnsupportedModelError

from . import Entry, _llama
from ._llama import UNREAD, config_of, metadata

__all__ = ["NAME", "UNREAD", "config_of", "entries", "metadata"]

NAME = "eurobert"


def entries(config: Config, max_tokens: int) -> list[Entry]:
    """List the tensors; raises UnsupportedModelError for heads that llama.cpp has no place for."""
    if config.num_attention_heads * config.head_dim != config.hidden_size:
        raise UnsupportedModelError(
            f"config.json: {config.num_attention_heads} heads of {config.head_dim} do not make "
            f"hidden_size={config.hidden_size}, which llama.cpp takes for granted in EuroBERT: convert to ONNX or MLX "
            "instead"
        )
    return _llama.entries(config)
