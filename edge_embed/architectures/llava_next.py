"""config.json of LLaVA-NeXT: the language model's and the tower's numbers, where transformers' defaults fill gaps.

Up to release 4.51 transformers wrote of a nested config what differs from its class's defaults, and nothing else: a
LLaVA-NeXT over Llama-3-8B does not say that it has 32 layers of width 4,096.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

# What the fields of transformers' LlamaConfig, CLIPVisionConfig and LlavaNextConfig are where nothing is said.
LLAMA: dict[str, Any] = {
    "hidden_act": "silu",
    "hidden_size": 4096,
    "intermediate_size": 11008,
    "max_position_embeddings": 2048,
    "num_attention_heads": 32,
    "num_hidden_layers": 32,
    "rms_norm_eps": 1e-6,
    "rope_theta": 1e4,
    "vocab_size": 32000,
}
CLIP: dict[str, Any] = {
    "hidden_act": "quick_gelu",
    "hidden_size": 768,
    "image_size": 224,
    "intermediate_size": 3072,
    "layer_norm_eps": 1e-5,
    "num_attention_heads": 12,
    "num_channels": 3,
    "num_hidden_layers": 12,
    "patch_size": 32,
}
LLAVA_NEXT: dict[str, Any] = {
    "image_token_index": 32000,
    "multimodal_projector_bias": True,
    "projector_hidden_act": "gelu",
    "vision_feature_layer": -2,
    "vision_feature_select_strategy": "default",
}


def text_config(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the language model's config, complete, in the form that a checkpoint of it alone would have."""
    return {**LLAMA, **(config.get("text_config") or {})}


def vision_config(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the tower's config, complete."""
    return {**CLIP, **(config.get("vision_config") or {})}


def whole_config(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the whole config, complete, with complete parts; `image_token_id` is a newer name of image_token_index."""
    renamed = {"image_token_index": config["image_token_id"]} if "image_token_id" in config else {}
    parts = {"text_config": text_config(config), "vision_config": vision_config(config)}
    return {**LLAVA_NEXT, **config, **renamed, **parts}


def filled(config: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return any model's config as it is, but LLaVA-NeXT's complete."""
    return whole_config(config) if config.get("model_type") == "llava_next" else config
