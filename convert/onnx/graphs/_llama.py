"""What Llama-like encoders and decoders share: RMSNorm, rotary positions, attention, SwiGLU, a last layer for one row.

Attention runs through ONNX Runtime's memory-linear kernels wherever it can: GroupQueryAttention for causal models, and
MultiHeadAttention without a mask for batches without padding (Dao et al. 2022, arXiv 2205.14135). At 4,096 tokens of
nano's shape these took 61 and 106 MB where the masked kernel took 873.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from onnx import TensorProto

from edge_embed.architectures.config import check_config, rope_of
from edge_embed.errors import CorruptModelError, UnsupportedModelError
from edge_embed.spec.model import Pooling

from ...checkpoint.smooth import Pair
from ...checkpoint.source import Array, Reader
from ..builder import ALL_ROWS, MICROSOFT, ONE_ROW, Builder
from ..levels import linear, table

ALLOWED = {
    "hidden_act": ("silu",),
    "attention_bias": (False,),
    "mlp_bias": (False,),
    "use_sliding_window": (False, None),
}
NEEDED = ("hidden_size", "intermediate_size", "num_attention_heads", "num_hidden_layers", "rms_norm_eps", "vocab_size")
UNUSED = ("lm_head.",)
PICTURE_ROWS, PICTURE_PLACES = "image_rows", "image_places"  # a picture's features among the tokens, and where
PREFIXES = ("model.",)  # what some checkpoints put before every name


@dataclass(frozen=True)
class Shape:
    """The numbers of config.json that shape a layer."""

    dim: int
    inner: int
    heads: int
    kv_heads: int
    head_dim: int
    epsilon: float
    qk_norm: bool
    causal: bool


def shape_of(config: Mapping[str, Any], *, qk_norm: bool, causal: bool) -> Shape:
    """Read and check the shape; raises for values that would change the numbers and are not implemented."""
    check_config(config, ALLOWED, NEEDED)
    if set(config.get("layer_types") or ()) - {"full_attention"}:
        raise UnsupportedModelError(f"config.json: layer_types={config['layer_types']} is not implemented")
    dim, heads = config["hidden_size"], config["num_attention_heads"]
    kv_heads = config.get("num_key_value_heads") or heads
    head_dim = config.get("head_dim") or dim // heads
    if heads % kv_heads or head_dim % 2:
        raise CorruptModelError(f"config.json: {heads} heads do not share {kv_heads} key heads of {head_dim}")
    return Shape(dim, config["intermediate_size"], heads, kv_heads, head_dim, config["rms_norm_eps"], qk_norm, causal)


@dataclass(frozen=True)
class Context:
    """Names of what every layer uses."""

    cos: str  # (tokens, head_dim / 2)
    sin: str
    mask: str  # int32 (batch, tokens)
    no_padding: str  # bool
    last: str  # int64 (batch,): index of each text's last token
    last32: str  # the same, int32
    total: str  # int32 scalar: tokens of the longest text


def context(b: Builder, config: Mapping[str, Any], shape: Shape) -> Context:
    """Add the rotary tables for as many tokens as there are, and the mask in the forms that the kernels take."""
    mask = b.node("Cast", "attention_mask", to=TensorProto.INT32)
    ones = b.node("ReduceMin", mask, keepdims=0)
    lengths = b.node("ReduceSum", "attention_mask", b.constant([1], np.int64), keepdims=0)
    last = b.node("Sub", lengths, b.constant(1, np.int64))
    tokens = b.node("Gather", b.node("Shape", "input_ids"), b.constant(1, np.int64))
    inverse = inverse_frequencies(config, shape.head_dim)
    at = b.node("Range", b.constant(0, np.int64), tokens, b.constant(1, np.int64))
    column = b.node("Unsqueeze", b.node("Cast", at, to=TensorProto.FLOAT), b.constant([1], np.int64))
    angles = b.node("Mul", column, b.weight("rope.inverse_frequencies", inverse[None]))
    return Context(
        cos=b.node("Cos", angles),
        sin=b.node("Sin", angles),
        mask=mask,
        no_padding=b.node("Cast", ones, to=TensorProto.BOOL),
        last=last,
        last32=b.node("Cast", last, to=TensorProto.INT32),
        total=b.node("Cast", tokens, to=TensorProto.INT32),
    )


def inverse_frequencies(config: Mapping[str, Any], head_dim: int) -> np.ndarray[Any, np.dtype[np.float32]]:
    """Return theta^(-2i/head_dim) (Su et al. 2021, arXiv 2104.09864), slower by the factor of rope_of()."""
    theta, factor = rope_of(config)
    exponents = np.arange(0, head_dim, 2, dtype=np.float32) / np.float32(head_dim)
    return (1 / np.float32(theta) ** exponents / np.float32(factor)).astype(np.float32)


def smooth_pairs(
    config: Mapping[str, Any], tensors: Mapping[str, Array], prefixes: tuple[str, ...] = PREFIXES
) -> list[Pair]:
    """List what makes the channels that linear layers read: gains of norms, `up_proj`, `v_proj`."""
    shape = shape_of(config, qk_norm=False, causal=False)
    prefix = Reader(tensors, prefixes).prefix
    pairs = []
    for n in range(config["num_hidden_layers"]):
        at = f"{prefix}layers.{n}."
        copies = shape.heads // shape.kv_heads
        attention = tuple(f"{at}self_attn.{name}_proj.weight" for name in "qkv")
        gated = f"{at}mlp.gate_proj.weight", f"{at}mlp.up_proj.weight"
        down, out = (f"{at}mlp.down_proj.weight",), (f"{at}self_attn.o_proj.weight",)
        pairs += [
            Pair(f"{at}input_layernorm.weight", attention, f"layers.{n}.self_attn.k_proj"),
            Pair(f"{at}post_attention_layernorm.weight", gated, f"layers.{n}.mlp.up_proj"),
            Pair(f"{at}mlp.up_proj.weight", down, f"layers.{n}.mlp.down_proj"),
            Pair(f"{at}self_attn.v_proj.weight", out, f"layers.{n}.self_attn.o_proj", copies, shape.head_dim),
        ]
    return pairs


def transformer(
    b: Builder,
    config: Mapping[str, Any],
    read: Reader,
    shape: Shape,
    pooling: Pooling,
    *,
    pictures: bool = False,
    unused: tuple[str, ...] = UNUSED,
) -> tuple[str, str]:
    """Add all layers; where the pooling takes one row, the last layer computes queries and MLP for it alone.

    With `pictures` rows may be fed that stand in the place of tokens. Tensors named by `unused` may be left.
    """
    ctx = context(b, config, shape)
    x = table(b, "input_ids", "embed_tokens", read("embed_tokens.weight", config["vocab_size"], shape.dim))
    if pictures:
        x = _insert(b, x, shape.dim)
    one_row = pooling == "last" or (pooling == "first" and not shape.causal)
    layers = config["num_hidden_layers"]
    for n in range(layers):
        at = f"layers.{n}."
        row = None
        if one_row and n == layers - 1:
            row = ctx.last if pooling == "last" else b.node("Mul", ctx.last, b.constant(0, np.int64))
        x = _layer(b, read, shape, ctx, at, x, row)
    x = b.rms_norm(x, "norm", read("norm.weight", shape.dim), shape.epsilon)
    read.check_all_taken(unused)
    return (b.node("Squeeze", x, b.constant([1], np.int64)), ONE_ROW) if one_row else (x, ALL_ROWS)


def _layer(b: Builder, read: Reader, shape: Shape, ctx: Context, at: str, x: str, row: str | None) -> str:
    """Add one layer; with `row`, an index for each text, only that row comes out: (batch, 1, dim)."""
    dim, q_dim, kv_dim = shape.dim, shape.heads * shape.head_dim, shape.kv_heads * shape.head_dim
    h = b.rms_norm(x, f"{at}input_layernorm", read(f"{at}input_layernorm.weight", dim), shape.epsilon)
    k = linear(b, h, f"{at}self_attn.k_proj", read(f"{at}self_attn.k_proj.weight", kv_dim, dim))
    v = linear(b, h, f"{at}self_attn.v_proj", read(f"{at}self_attn.v_proj.weight", kv_dim, dim))
    if row is not None:
        x, h = _take_row(b, x, row), _take_row(b, h, row)
    q = linear(b, h, f"{at}self_attn.q_proj", read(f"{at}self_attn.q_proj.weight", q_dim, dim))
    if shape.qk_norm:
        q = _head_norm(b, read, shape, f"{at}self_attn.q_norm", q)
        k = _head_norm(b, read, shape, f"{at}self_attn.k_norm", k)
    attended = _attend(b, shape, ctx, q, k, v, row)
    x = b.node("Add", x, linear(b, attended, f"{at}self_attn.o_proj", read(f"{at}self_attn.o_proj.weight", dim, q_dim)))
    h = b.rms_norm(x, f"{at}post_attention_layernorm", read(f"{at}post_attention_layernorm.weight", dim), shape.epsilon)
    gate = linear(b, h, f"{at}mlp.gate_proj", read(f"{at}mlp.gate_proj.weight", shape.inner, dim))
    up = linear(b, h, f"{at}mlp.up_proj", read(f"{at}mlp.up_proj.weight", shape.inner, dim))
    active = b.node("Mul", b.node("QuickGelu", gate, domain=MICROSOFT, alpha=1.0), up)  # alpha 1 makes it SiLU
    return b.node(
        "Add", x, linear(b, active, f"{at}mlp.down_proj", read(f"{at}mlp.down_proj.weight", dim, shape.inner))
    )


def _insert(b: Builder, x: str, dim: int) -> str:
    """Put the rows of PICTURE_ROWS, (rows, dim), into x in the places of PICTURE_PLACES: (row of the batch, token)."""
    places = b.optional_input(PICTURE_PLACES, np.int64, 2)
    return b.node("ScatterND", x, places, b.optional_input(PICTURE_ROWS, np.float32, dim))


def _take_row(b: Builder, x: str, row: str) -> str:
    """Pick one row of each text: (batch, tokens, dim) -> (batch, 1, dim)."""
    index = b.node("Reshape", row, b.constant([-1, 1, 1], np.int64))
    return b.node("GatherND", x, index, batch_dims=1)


def _head_norm(b: Builder, read: Reader, shape: Shape, at: str, x: str) -> str:
    """Normalise each head by itself."""
    heads = b.node("Reshape", x, b.constant([0, 0, -1, shape.head_dim], np.int64))
    normed = b.rms_norm(heads, at, read(f"{at}.weight", shape.head_dim), shape.epsilon)
    return b.node("Reshape", normed, b.constant([0, 0, -1], np.int64))


def _attend(b: Builder, shape: Shape, ctx: Context, q: str, k: str, v: str, row: str | None) -> str:
    """Rotate queries and keys and attend; the one row sees every token of its text, causal or not."""
    start = b.constant([0], np.int64)
    at = start if row is None else b.node("Unsqueeze", row, b.constant([1], np.int64))
    q = b.node("RotaryEmbedding", q, at, ctx.cos, ctx.sin, domain=MICROSOFT, num_heads=shape.heads)
    k = b.node("RotaryEmbedding", k, start, ctx.cos, ctx.sin, domain=MICROSOFT, num_heads=shape.kv_heads)
    if row is None and shape.causal:
        inputs = (q, k, v, "", "", ctx.last32, ctx.total)
        sizes = {"num_heads": shape.heads, "kv_num_heads": shape.kv_heads}
        out, keys, values = b.split("GroupQueryAttention", *inputs, outputs=3, domain=MICROSOFT, **sizes)
        # Without keys and values as outputs the kernel is not the linear one; with outputs that nobody reads, ONNX
        # Runtime keeps every layer's until the run ends. So their shape is read, which frees them.
        batch, tokens = b.node("Shape", values, start=0, end=1), b.node("Shape", keys, start=2, end=3)
        size = b.constant([shape.heads * shape.head_dim], np.int64)
        return b.node("Reshape", out, b.node("Concat", batch, tokens, size, axis=0))
    k, v = _repeat_heads(b, shape, k), _repeat_heads(b, shape, v)
    attributes: dict[str, Any] = {"domain": MICROSOFT, "num_heads": shape.heads}
    masked = ("MultiHeadAttention", (q, k, v, "", ctx.mask), attributes)
    if row is not None:
        return b.node(masked[0], *masked[1], **attributes)
    return b.either(ctx.no_padding, ("MultiHeadAttention", (q, k, v), attributes), masked)


def _repeat_heads(b: Builder, shape: Shape, x: str) -> str:
    """Give every query head its own copy of the key head that it shares."""
    if shape.kv_heads == shape.heads:
        return x
    grouped = b.node("Reshape", x, b.constant([0, 0, shape.kv_heads, 1, shape.head_dim], np.int64))
    tiled = b.node("Tile", grouped, b.constant([1, 1, 1, shape.heads // shape.kv_heads, 1], np.int64))
    return b.node("Reshape", tiled, b.constant([0, 0, shape.heads * shape.head_dim], np.int64))
