"""CLIP's ViT (Radford et al. 2021, arXiv 2103.00020) as transformers' CLIPVisionModel computes it, up to one layer."""

from __future__ import annotations

import numpy as np

from edge_embed.architectures._clip import Tower

from ...checkpoint.source import Reader
from ..builder import MICROSOFT, Builder
from ..levels import linear, linear_with_bias
from ._patches import patches


def hidden_state(b: Builder, tower: Tower, read: Reader, layers: int) -> str:
    """Add the tower up to its n-th layer: `pixel_values` (batch, 3, height, width) -> (batch, 1 + patches, dim).

    The class token's row comes first.
    """
    dim, patch = tower.hidden_size, tower.patch_size
    x = patches(
        b,
        read("embeddings.patch_embedding.weight", dim, 3, patch, patch),
        None,
        read("embeddings.class_embedding", dim),
        read("embeddings.position_embedding.weight", 1 + tower.patches, dim),
    )
    x = _norm(b, read, tower, "pre_layrnorm", x)  # the field's spelling
    for n in range(layers):
        x = _layer(b, read, tower, f"encoder.layers.{n}.", x)
    return x


def _layer(b: Builder, read: Reader, tower: Tower, at: str, x: str) -> str:
    dim, inner = tower.hidden_size, tower.intermediate_size
    parts = [f"{at}self_attn.{name}_proj" for name in "qkv"]
    weight = np.concatenate([read(f"{part}.weight", dim, dim) for part in parts])
    bias = np.concatenate([read(f"{part}.bias", dim) for part in parts])
    h = _norm(b, read, tower, f"{at}layer_norm1", x)
    qkv = b.nodes("Split", linear(b, h, f"{at}self_attn.qkv", weight), outputs=3, axis=-1, num_outputs=3)
    shift = b.weight(f"{at}self_attn.qkv.bias", bias)
    heads = tower.num_attention_heads
    attended = b.node("MultiHeadAttention", *qkv, shift, domain=MICROSOFT, num_heads=heads)
    x = b.node("Add", x, linear_with_bias(b, read, f"{at}self_attn.out_proj", attended, dim, dim))
    h = _norm(b, read, tower, f"{at}layer_norm2", x)
    active = activation(b, tower.hidden_act, linear_with_bias(b, read, f"{at}mlp.fc1", h, inner, dim))
    return b.node("Add", x, linear_with_bias(b, read, f"{at}mlp.fc2", active, dim, inner))


def activation(b: Builder, name: str, x: str) -> str:
    """Add `gelu`, or `quick_gelu`, which is x * sigmoid(1.702 x)."""
    if name == "gelu":
        return b.node("Gelu", x, domain=MICROSOFT)
    return b.node("QuickGelu", x, domain=MICROSOFT, alpha=1.702)


def _norm(b: Builder, read: Reader, tower: Tower, at: str, x: str) -> str:
    dim = tower.hidden_size
    return b.layer_norm(x, at, read(f"{at}.weight", dim), read(f"{at}.bias", dim), tower.layer_norm_eps)
