"""EVA02 (Fang et al. 2023, arXiv 2303.11331), the image tower of jina-clip-v1: B/16 as EVA-CLIP configures it.

A ViT with rotary positions in two dimensions, gated SiLU layers, and norms inside attention and MLP (sub-LN). Rows of
pixels go in, the class token's row comes out; the last layer computes queries and MLP for that row alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from edge_embed.architectures.jina_clip import EPSILON, IMAGE_PREFIXES, ImageConfig, angles, image_unused
from edge_embed.backends.onnx.names import IMAGE_ROW

from ...checkpoint.smooth import Pair
from ...checkpoint.source import Array, Reader
from ..builder import MICROSOFT, Builder
from ..levels import linear, linear_with_bias
from ._patches import patches
from ._rows import first_row


def build_image(b: Builder, tower: ImageConfig, tensors: Mapping[str, Array]) -> tuple[str, str]:
    """Add the graph of the tower: `pixel_values` (batch, 3, height, width) -> IMAGE_ROW, not normalised."""
    read = Reader(tensors, IMAGE_PREFIXES)
    x = _patches(b, read, tower)
    cos, sin = (b.weight(f"rope.{name}", table) for name, table in zip(("cos", "sin"), angles(tower), strict=True))
    for n in range(tower.layers):
        x = _layer(b, read, tower, f"blocks.{n}.", x, (cos, sin), last=n == tower.layers - 1)
    x = _norm(b, read, "norm", x, tower.dim)
    read.check_all_taken(image_unused(tower))
    return b.node("Squeeze", x, b.constant([1], np.int64)), IMAGE_ROW


def smooth_image_pairs(tower: ImageConfig, tensors: Mapping[str, Array]) -> list[Pair]:
    """List what makes the channels that linear layers read: gain and shift of the four norms of each layer."""
    prefix = Reader(tensors, IMAGE_PREFIXES).prefix
    pairs = []
    for n in range(tower.layers):
        at = f"blocks.{n}."
        reads_norm1 = "attn.kv" if n == tower.layers - 1 else "attn.qkv"
        for norm, layer, names in (
            ("norm1", reads_norm1, ("attn.q_proj", "attn.k_proj", "attn.v_proj")),
            ("attn.inner_attn_ln", "attn.proj", ("attn.proj",)),
            ("norm2", "mlp.w12", ("mlp.w1", "mlp.w2")),
            ("mlp.ffn_ln", "mlp.w3", ("mlp.w3",)),
        ):
            readers = tuple(f"{prefix}{at}{name}.weight" for name in names)
            made = f"{prefix}{at}{norm}"
            pairs.append(Pair(f"{made}.weight", readers, f"{at}{layer}", bias=f"{made}.bias"))
    return pairs


def _patches(b: Builder, read: Reader, tower: ImageConfig) -> str:
    """Add the class token and every patch, with their positions."""
    dim, rows = tower.dim, 1 + tower.grid**2
    return patches(
        b,
        read("patch_embed.proj.weight", dim, 3, tower.patch, tower.patch),
        read("patch_embed.proj.bias", dim),
        read("cls_token", 1, 1, dim),
        read("pos_embed", 1, rows, dim)[0],
    )


def _layer(b: Builder, read: Reader, tower: ImageConfig, at: str, x: str, tables: tuple[str, str], last: bool) -> str:
    """Add one layer; the `last` gives the class token's row only: (batch, 1, dim)."""
    dim, inner = tower.dim, tower.inner
    attended = _attend(b, read, tower, f"{at}attn.", _norm(b, read, f"{at}norm1", x, dim), tables, last)
    attended = _norm(b, read, f"{at}attn.inner_attn_ln", attended, dim)
    x = b.node("Add", first_row(b, x) if last else x, linear_with_bias(b, read, f"{at}attn.proj", attended, dim, dim))
    h = _norm(b, read, f"{at}norm2", x, dim)
    w12 = [read(f"{at}mlp.{name}.weight", inner, dim) for name in ("w1", "w2")]
    shifts = [read(f"{at}mlp.{name}.bias", inner) for name in ("w1", "w2")]
    gated = linear(b, h, f"{at}mlp.w12", np.concatenate(w12))
    gated = b.node("Add", gated, b.weight(f"{at}mlp.w12.bias", np.concatenate(shifts)))
    gate, up = b.nodes("Split", gated, outputs=2, axis=-1, num_outputs=2)
    active = b.node("Mul", b.node("QuickGelu", gate, domain=MICROSOFT, alpha=1.0), up)  # alpha 1 makes it SiLU
    active = _norm(b, read, f"{at}mlp.ffn_ln", active, inner)
    return b.node("Add", x, linear_with_bias(b, read, f"{at}mlp.w3", active, dim, inner))


def _attend(b: Builder, read: Reader, tower: ImageConfig, at: str, h: str, tables: tuple[str, str], last: bool) -> str:
    """Attend from every row, or from the first alone, to every row; queries and values have biases, keys have none."""
    dim = tower.dim
    weights = [read(f"{at}{name}_proj.weight", dim, dim) for name in "qkv"]
    q_bias, v_bias = (b.weight(f"{at}{name}_bias", read(f"{at}{name}_bias", dim)) for name in "qv")
    if last:
        k, v = b.nodes("Split", linear(b, h, f"{at}kv", np.concatenate(weights[1:])), outputs=2, axis=-1, num_outputs=2)
        q = linear(b, first_row(b, h), f"{at}q_proj", weights[0])
    else:
        qkv = linear(b, h, f"{at}qkv", np.concatenate(weights))
        q, k, v = b.nodes("Split", qkv, outputs=3, axis=-1, num_outputs=3)
    start = b.constant([0], np.int64)
    turn: dict[str, Any] = {"domain": MICROSOFT, "num_heads": tower.heads, "interleaved": 1}
    q = b.node("Add", q, q_bias)
    if not last:  # the class token's angle is 0
        q = b.node("RotaryEmbedding", q, start, *tables, **turn)
    k = b.node("RotaryEmbedding", k, start, *tables, **turn)
    return b.node("MultiHeadAttention", q, k, b.node("Add", v, v_bias), domain=MICROSOFT, num_heads=tower.heads)


def _norm(b: Builder, read: Reader, at: str, x: str, dim: int) -> str:
    return b.layer_norm(x, at, read(f"{at}.weight", dim), read(f"{at}.bias", dim), EPSILON)
