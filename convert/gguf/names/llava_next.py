"""LLaVA-NeXT's language model, a Llama, in llama.cpp; E5-V. Pictures' rows come from the image part's own graph."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from edge_embed.architectures import llava_next as llava_config
from edge_embed.architectures.config import check_config

from . import Entry, Value, llama

__all__ = ["NAME", "PREFIXES", "UNUSED", "entries", "metadata", "text_config"]

NAME = llama.NAME
PREFIXES = ("language_model.model.", "model.language_model.")  # of transformers up to 4.51, and of 5
UNUSED = (
    *("language_model.lm_head.", "vision_tower.", "multi_modal_projector.", "image_newline"),
    *("lm_head.", "model.vision_tower.", "model.multi_modal_projector.", "model.image_newline"),
)


def text_config(config: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the language model's numbers; raise UnsupportedModelError when it is no Llama."""
    text = llava_config.text_config(config)
    check_config(text, {"model_type": ("llama",)}, ("model_type",))
    return text


def metadata(config: Mapping[str, Any]) -> dict[str, Value]:
    """Return llama.cpp's keys."""
    return llama.metadata(text_config(config))


def entries(config: Mapping[str, Any], max_tokens: int) -> list[Entry]:
    """List the language model's tensors."""
    return llama.entries(text_config(config), max_tokens)
