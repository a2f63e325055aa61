"""CLIP's ViT (Radford et al. 2021, arXiv 2103.00020) as transformers' CLIPVisionModel computes it, up to one layer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from edge_embed.architectures.config import check_config, check_heads
from edge_embed.errors import CorruptModelError

from ...checkpoint.source import Reader
from ..builder import MICROSOFT, Builder
from ..levels import linear, linear_with_bias
from ._patches import patches

ALLOWED = {
    "hidden_act": ("quick_gelu", "gelu"),
    "model_type": ("clip_vision_model",),
    "num_channels": (3,),
}


def hidden_state(b: Builder, vision: Mapping[str, Any], read: Reader, layers: int) -> str:
    """Add the tower up to its n-th layer: `pixel_values` (batch, 3, height, width) -> (batch, 1 + patches, dim).

    The class token's row comes first. `vision` is the complete vision_config.
    Raises UnsupportedModelError and CorruptModelError for values that are not implemented or contradict one another.
    """
    check_config(vision, ALLOWED, ())
    dim, side, patch = vision["hidden_size"], vision["image_size"], vision["patch_size"]
    check_heads(dim, vision["num_attention_heads"])
    if side % patch:
        raise CorruptModelError(f"config.json: image_size={side} is not a multiple of patch_size={patch}")
    x = patches(
        b,
        read("embeddings.patch_embedding.weight", dim, 3, patch, patch),
        None,
        read("embeddings.class_embedding", dim),
        read("embeddings.position_embedding.weight", 1 + (side // patch) ** 2, dim),
    )
    x = _norm(b, read, vision, "pre_layrnorm", x)  # the field's spelling
    for n in range(layers):
        x = _layer(b, read, vision, f"encoder.layers.{n}.", x)
    return x


def unused(vision: Mapping[str, Any], layers: int) -> tuple[str, ...]:
    """List the names, without the tower's prefix, that hidden_state() with as many layers leaves out."""
    later = (f"encoder.layers.{n}." for n in range(layers, vision["num_hidden_layers"]))
    return (*later, "post_layernorm.", "embeddings.position_ids")


def _layer(b: Builder, read: Reader, vision: Mapping[str, Any], at: str, x: str) -> str:
    dim, inner = vision["hidden_size"], vision["intermediate_size"]
    parts = [f"{at}self_attn.{name}_proj" for name in "qkv"]
    weight = np.concatenate([read(f"{part}.weight", dim, dim) for part in parts])
    bias = np.concatenate([read(f"{part}.bias", dim) for part in parts])
    h = _norm(b, read, vision, f"{at}layer_norm1", x)
    qkv = b.split("Split", linear(b, h, f"{at}self_attn.qkv", weight), outputs=3, axis=-1, num_outputs=3)
    shift = b.weight(f"{at}self_attn.qkv.bias", bias)
    heads = vision["num_attention_heads"]
    attended = b.node("MultiHeadAttention", *qkv, shift, domain=MICROSOFT, num_heads=heads)
    x = b.node("Add", x, linear_with_bias(b, read, f"{at}self_attn.out_proj", attended, dim, dim))
    h = _norm(b, read, vision, f"{at}layer_norm2", x)
    active = activation(b, vision["hidden_act"], linear_with_bias(b, read, f"{at}mlp.fc1", h, inner, dim))
    return b.node("Add", x, linear_with_bias(b, read, f"{at}mlp.fc2", active, dim, inner))


def activation(b: Builder, name: str, x: str) -> str:
    """Add `gelu`, or `quick_gelu`, which is x * sigmoid(1.702 x)."""
    if name == "gelu":
        return b.node("Gelu", x, domain=MICROSOFT)
    return b.node("QuickGelu", x, domain=MICROSOFT, alpha=1.702)


def _norm(b: Builder, read: Reader, vision: Mapping[str, Any], at: str, x: str) -> str:
    dim = vision["hidden_size"]
    return b.layer_norm(x, at, read(f"{at}.weight", dim), read(f"{at}.bias", dim), vision["layer_norm_eps"])
