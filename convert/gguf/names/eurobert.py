"""EuroBERT in llama.cpp; v5-text-nano."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from edge_embed.errors import UnsupportedModelError

from ...onnx.graphs._llama import PREFIXES, UNUSED, Shape, shape_of
from . import Entry, Value, _llama

__all__ = ["NAME", "PREFIXES", "UNUSED", "entries", "metadata", "text_config"]

NAME = "eurobert"


def text_config(config: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the numbers of the part that reads text: all of them."""
    return config


def metadata(config: Mapping[str, Any]) -> dict[str, Value]:
    """Return llama.cpp's keys."""
    return _llama.metadata(config, _shape(config))


def entries(config: Mapping[str, Any], max_tokens: int) -> list[Entry]:
    """List the tensors; raises UnsupportedModelError for heads that llama.cpp has no place for."""
    return _llama.entries(config, _shape(config))


def _shape(config: Mapping[str, Any]) -> Shape:
    shape = shape_of(config, qk_norm=False, causal=False)
    if shape.heads * shape.head_dim != shape.dim:
        raise UnsupportedModelError(
            f"config.json: {shape.heads} heads of {shape.head_dim} do not make hidden_size={shape.dim}, which "
            "llama.cpp takes for granted in EuroBERT: convert to ONNX or MLX instead"
        )
    return shape
