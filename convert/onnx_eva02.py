"""EVA02 (Fang et al. 2023, arXiv 2303.11331), the image tower of jina-clip-v1: B/16 as EVA-CLIP configures it.

A ViT with rotary positions in two dimensions, gated SiLU layers, and norms inside attention and MLP (sub-LN). Rows of
pixels go in, the class token's row comes out; the last layer computes queries and MLP for that row alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from edge_embed.config import check_config
from edge_embed.errors import CorruptModelError, UnsupportedModelError

from .onnx_builder import IMAGE_ROW, Builder
from .onnx_levels import MICROSOFT
from .onnx_vit import patches
from .smooth import Pair
from .source import Array, Reader

PREFIXES = ("vision_model.",)
EPSILON = 1e-6
THETA = 1e4
NEEDED = ("embed_dim", "head_width", "image_size", "layers", "mlp_ratio", "patch_size", "width")
# What EVA02-CLIP-B/16 sets; a key that is absent has the value that stands first.
SET = {
    "intp_freq": (False, True),
    "ls_init_value": (None,),
    "naive_swiglu": (True,),
    "post_norm": (False,),
    "proj_type": (None,),
    "qkv_bias": (True,),
    "rope_embeddings": (True,),
    "subln": (True,),
}


@dataclass(frozen=True)
class Tower:
    """The numbers of vision_config; `grid` patches a side, `trained` patches a side whose positions the angles span."""

    dim: int
    inner: int
    heads: int
    layers: int
    patch: int
    grid: int
    trained: float

    @property
    def head_dim(self) -> int:
        """Channels of one head."""
        return self.dim // self.heads


def tower_of(config: Mapping[str, Any]) -> Tower:
    """Read and check config.json's vision_config; raises for values that would change the numbers."""
    check_config(config, {"add_projections": (False,)}, ("vision_config",))
    vision = config["vision_config"]
    check_config(vision, SET, (*NEEDED, "naive_swiglu", "rope_embeddings", "subln"))
    dim, patch, image, head = (vision[key] for key in ("width", "patch_size", "image_size", "head_width"))
    if vision["embed_dim"] != dim:
        raise UnsupportedModelError(f"config.json: embed_dim={vision['embed_dim']} needs a projection from width={dim}")
    if dim % head or head % 4 or image % patch:
        raise CorruptModelError(f"config.json: width={dim}, head_width={head}, image_size={image}, patch_size={patch}")
    grid = image // patch
    trained = vision.get("pt_hw_seq_len", 16) if vision.get("intp_freq", False) else grid
    return Tower(dim, int(dim * vision["mlp_ratio"]), dim // head, vision["layers"], patch, grid, trained)


def build_image(b: Builder, config: Mapping[str, Any], tensors: Mapping[str, Array]) -> tuple[str, str]:
    """Add the graph of the tower: `pixel_values` (batch, 3, height, width) -> IMAGE_ROW, not normalised."""
    tower = tower_of(config)
    read = Reader(tensors, PREFIXES)
    x = _patches(b, read, tower)
    cos, sin = (b.weight(f"rope.{name}", table) for name, table in zip(("cos", "sin"), angles(tower), strict=True))
    for n in range(tower.layers):
        x = _layer(b, read, tower, f"blocks.{n}.", x, (cos, sin), last=n == tower.layers - 1)
    x = _norm(b, read, "norm", x, tower.dim)
    # Tables that are computed here are stored in the checkpoint, for the tower and for its layers.
    stored = tuple(f"blocks.{n}.attn.rope." for n in range(tower.layers))
    read.check_all_taken(("text_model.", "logit_scale", "rope.", *stored))
    return b.node("Squeeze", x, b.constant([1], np.int64)), IMAGE_ROW


def smooth_image_pairs(config: Mapping[str, Any], tensors: Mapping[str, Array]) -> list[Pair]:
    """List what makes the channels that linear layers read: gain and shift of the four norms of each layer."""
    tower, prefix = tower_of(config), Reader(tensors, PREFIXES).prefix
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
            pairs += [Pair(f"{prefix}{at}{norm}.{part}", readers, f"{at}{layer}") for part in ("weight", "bias")]
    return pairs


def angles(tower: Tower) -> tuple[Array, Array]:
    """Return cosines and sines (1 + grid * grid, head_dim / 2): the class token's row turns nothing.

    The first half of the pairs turns with the line, the second with the column (Su et al. 2021 in two dimensions).
    """
    half = tower.head_dim // 2
    frequencies = THETA ** -(np.arange(0, half, 2, dtype=np.float64) / half)
    places = np.arange(tower.grid) / tower.grid * tower.trained
    along = places[:, None] * frequencies
    turned = np.zeros((1 + tower.grid**2, half))
    turned[1:, : half // 2] = np.repeat(along, tower.grid, axis=0)
    turned[1:, half // 2 :] = np.tile(along, (tower.grid, 1))
    return np.cos(turned).astype(np.float32), np.sin(turned).astype(np.float32)


def _patches(b: Builder, read: Reader, tower: Tower) -> str:
    """Add the class token and every patch, with their positions."""
    dim, rows = tower.dim, 1 + tower.grid**2
    return patches(
        b,
        read("patch_embed.proj.weight", dim, 3, tower.patch, tower.patch),
        read("patch_embed.proj.bias", dim),
        read("cls_token", 1, 1, dim),
        read("pos_embed", 1, rows, dim)[0],
    )


def _layer(b: Builder, read: Reader, tower: Tower, at: str, x: str, tables: tuple[str, str], last: bool) -> str:
    """Add one layer; the `last` gives the class token's row only: (batch, 1, dim)."""
    dim, inner = tower.dim, tower.inner
    attended = _attend(b, read, tower, f"{at}attn.", _norm(b, read, f"{at}norm1", x, dim), tables, last)
    attended = _norm(b, read, f"{at}attn.inner_attn_ln", attended, dim)
    x = b.node("Add", _first(b, x) if last else x, _biased(b, read, f"{at}attn.proj", attended, dim, dim))
    h = _norm(b, read, f"{at}norm2", x, dim)
    w12 = [read(f"{at}mlp.{name}.weight", inner, dim) for name in ("w1", "w2")]
    shifts = [read(f"{at}mlp.{name}.bias", inner) for name in ("w1", "w2")]
    gated = b.linear(h, f"{at}mlp.w12", np.concatenate(w12))
    gated = b.node("Add", gated, b.weight(f"{at}mlp.w12.bias", np.concatenate(shifts)))
    gate, up = b.split("Split", gated, outputs=2, axis=-1, num_outputs=2)
    active = b.node("Mul", b.node("QuickGelu", gate, domain=MICROSOFT, alpha=1.0), up)  # alpha 1 makes it SiLU
    active = _norm(b, read, f"{at}mlp.ffn_ln", active, inner)
    return b.node("Add", x, _biased(b, read, f"{at}mlp.w3", active, dim, inner))


def _attend(b: Builder, read: Reader, tower: Tower, at: str, h: str, tables: tuple[str, str], last: bool) -> str:
    """Attend from every row, or from the first alone, to every row; queries and values have biases, keys have none."""
    dim = tower.dim
    weights = [read(f"{at}{name}_proj.weight", dim, dim) for name in "qkv"]
    q_bias, v_bias = (b.weight(f"{at}{name}_bias", read(f"{at}{name}_bias", dim)) for name in "qv")
    if last:
        k, v = b.split("Split", b.linear(h, f"{at}kv", np.concatenate(weights[1:])), outputs=2, axis=-1, num_outputs=2)
        q = b.linear(_first(b, h), f"{at}q_proj", weights[0])
    else:
        qkv = b.linear(h, f"{at}qkv", np.concatenate(weights))
        q, k, v = b.split("Split", qkv, outputs=3, axis=-1, num_outputs=3)
    start = b.constant([0], np.int64)
    turn: dict[str, Any] = {"domain": MICROSOFT, "num_heads": tower.heads, "interleaved": 1}
    q = b.node("Add", q, q_bias)
    if not last:  # the class token's angle is 0
        q = b.node("RotaryEmbedding", q, start, *tables, **turn)
    k = b.node("RotaryEmbedding", k, start, *tables, **turn)
    return b.node("MultiHeadAttention", q, k, b.node("Add", v, v_bias), domain=MICROSOFT, num_heads=tower.heads)


def _first(b: Builder, x: str) -> str:
    zero, one = b.constant([0], np.int64), b.constant([1], np.int64)
    return b.node("Slice", x, zero, one, one)


def _biased(b: Builder, read: Reader, at: str, x: str, out: int, size: int) -> str:
    product = b.linear(x, at, read(f"{at}.weight", out, size))
    return b.node("Add", product, b.weight(f"{at}.bias", read(f"{at}.bias", out)))


def _norm(b: Builder, read: Reader, at: str, x: str, dim: int) -> str:
    return b.layer_norm(x, at, read(f"{at}.weight", dim), read(f"{at}.bias", dim), EPSILON)
