"""What Llama-like encoders and decoders share: RMSNorm, rotary positions, attention, SwiGLU, a last layer for one row.

Attention runs through ONNX Runtime's memory-linear kernels, each for texts of one length (see _apart):
GroupQueryAttention for causal models, else MultiHeadAttention without a mask. At 4,096 tokens of nano's shape these
took 61 and 106 MB where the masked kernel took 873.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from edge_embed.architectures._llama import PREFIXES, UNUSED, Config
from edge_embed.architectures._rotary import Rotary, inverse_frequencies
from edge_embed.backends.onnx.names import ALL_ROWS, IMAGE_POSITIONS, IMAGE_ROWS, ONE_ROW
from edge_embed.spec.model import Pooling

from ...checkpoint.smooth import Pair
from ...checkpoint.source import Array, Reader
from ..builder import MICROSOFT, Builder
from ..levels import gated, linear_with_bias, linear_without_bias, table
from ..standard import repeat_heads
from . import _apart
from ._rotary import rotate, tables
from ._rows import take_row

NORMS = ("input_layernorm", "post_attention_layernorm")  # before attention, and before the MLP


@dataclass(frozen=True)
class Context:
    """Names of what every layer uses."""

    cos: str  # (tokens, head_dim / 2)
    sin: str
    lengths: str  # int64 (batch,)
    last: str  # int64 (batch,): index of each text's last token


def context(b: Builder, config: Rotary) -> Context:
    """Add the rotary tables for as many tokens as there are, and the texts' lengths."""
    lengths = b.node("ReduceSum", "attention_mask", b.constant([1], np.int64), keepdims=0)
    last = b.node("Sub", lengths, b.constant(1, np.int64))
    cos, sin = rotations(b, config, "rope")
    return Context(cos=cos, sin=sin, lengths=lengths, last=last)


def rotations(b: Builder, config: Rotary, name: str) -> tuple[str, str]:
    """Add the cosines and sines of a rotary embedding for as many tokens as there are."""
    return tables(b, name, inverse_frequencies(config.head_dim, config.rope_theta, config.rope_divisor))


def smooth_pairs(
    config: Config,
    tensors: Mapping[str, Array],
    prefixes: tuple[str, ...] = PREFIXES,
    *,
    norms: tuple[str, str] = NORMS,
    shift: float = 0,
) -> list[Pair]:
    """List what makes the channels that linear layers read: gains of norms, `up_proj`, `v_proj`.

    A norm's gain is its weight and `shift`.
    """
    prefix = Reader(tensors, prefixes).prefix
    pairs = []
    for n in range(config.num_hidden_layers):
        at = f"{prefix}layers.{n}."
        copies = config.num_attention_heads // config.num_key_value_heads
        attention = tuple(f"{at}self_attn.{name}_proj.weight" for name in "qkv")
        gated = f"{at}mlp.gate_proj.weight", f"{at}mlp.up_proj.weight"
        bias = f"{at}self_attn.v_proj.bias" if config.qkv_bias else None
        down, out = (f"{at}mlp.down_proj.weight",), (f"{at}self_attn.o_proj.weight",)
        pairs += [
            Pair(f"{at}{norms[0]}.weight", attention, f"layers.{n}.self_attn.k_proj", shift=shift),
            Pair(f"{at}{norms[1]}.weight", gated, f"layers.{n}.mlp.up_proj", shift=shift),
            Pair(f"{at}mlp.up_proj.weight", down, f"layers.{n}.mlp.down_proj"),
            Pair(
                f"{at}self_attn.v_proj.weight", out, f"layers.{n}.self_attn.o_proj", copies, config.head_dim, bias=bias
            ),
        ]
    return pairs


def transformer(
    b: Builder,
    config: Config,
    read: Reader,
    pooling: Pooling,
    *,
    images: bool = False,
    unused: tuple[str, ...] = UNUSED,
) -> tuple[str, str]:
    """Add all layers; where the pooling takes one row, the last layer computes queries and MLP for it alone.

    With `images` rows may be fed that stand in the place of tokens. Tensors named by `unused` may be left.
    """
    ctx = context(b, config)
    x = table(b, "input_ids", "embed_tokens", read("embed_tokens.weight", config.vocab_size, config.hidden_size))
    if images:
        x = _insert(b, x, config.hidden_size)
    one_row = pooling == "last" or (pooling == "first" and not config.causal)
    layers = config.num_hidden_layers
    for n in range(layers):
        at = f"layers.{n}."
        row = None
        if one_row and n == layers - 1:
            row = ctx.last if pooling == "last" else b.node("Mul", ctx.last, b.constant(0, np.int64))
        x = _layer(b, read, config, ctx, at, x, row)
    x = b.rms_norm(x, "norm", read("norm.weight", config.hidden_size), config.rms_norm_eps)
    read.check_all_taken(unused)
    return (b.node("Squeeze", x, b.constant([1], np.int64)), ONE_ROW) if one_row else (x, ALL_ROWS)


def _layer(b: Builder, read: Reader, config: Config, ctx: Context, at: str, x: str, row: str | None) -> str:
    """Add one layer; with `row`, an index for each text, only that row comes out: (batch, 1, dim)."""
    dim, inner, epsilon = config.hidden_size, config.intermediate_size, config.rms_norm_eps
    q_dim, kv_dim = config.num_attention_heads * config.head_dim, config.num_key_value_heads * config.head_dim
    h = b.rms_norm(x, f"{at}input_layernorm", read(f"{at}input_layernorm.weight", dim), epsilon)
    project = linear_with_bias if config.qkv_bias else linear_without_bias
    k = project(b, read, f"{at}self_attn.k_proj", h, kv_dim, dim)
    v = project(b, read, f"{at}self_attn.v_proj", h, kv_dim, dim)
    if row is not None:
        x, h = take_row(b, x, row), take_row(b, h, row)
    q = project(b, read, f"{at}self_attn.q_proj", h, q_dim, dim)
    if config.qk_norm:
        q = _head_norm(b, read, config, f"{at}self_attn.q_norm", q)
        k = _head_norm(b, read, config, f"{at}self_attn.k_norm", k)
    attended = _attend(b, config, ctx, at, q, k, v, row)
    x = b.node("Add", x, linear_without_bias(b, read, f"{at}self_attn.o_proj", attended, dim, q_dim))
    h = b.rms_norm(x, f"{at}post_attention_layernorm", read(f"{at}post_attention_layernorm.weight", dim), epsilon)
    gate = linear_without_bias(b, read, f"{at}mlp.gate_proj", h, inner, dim)
    active = b.node("QuickGelu", gate, domain=MICROSOFT, alpha=1.0)  # alpha 1 makes it SiLU
    rows = gated(b, h, f"{at}mlp.up_proj", read(f"{at}mlp.up_proj.weight", inner, dim), active)
    return b.node("Add", x, linear_without_bias(b, read, f"{at}mlp.down_proj", rows, dim, inner))


def _insert(b: Builder, x: str, dim: int) -> str:
    """Put the rows of IMAGE_ROWS, (rows, dim), into x in the places of IMAGE_POSITIONS: (row of the batch, token)."""
    places = b.optional_input(IMAGE_POSITIONS, np.int64, 2)
    return b.node("ScatterND", x, places, b.optional_input(IMAGE_ROWS, np.float32, dim))


def _head_norm(b: Builder, read: Reader, config: Config, at: str, x: str) -> str:
    """Normalise each head by itself."""
    heads = b.node("Reshape", x, b.constant([0, 0, -1, config.head_dim], np.int64))
    normed = b.rms_norm(heads, at, read(f"{at}.weight", config.head_dim), config.rms_norm_eps)
    return b.node("Reshape", normed, b.constant([0, 0, -1], np.int64))


def _attend(b: Builder, config: Config, ctx: Context, at: str, q: str, k: str, v: str, row: str | None) -> str:
    """Rotate queries and keys and attend; the one row sees every token of its text, causal or not."""
    heads, kv_heads = config.num_attention_heads, config.num_key_value_heads
    q, k = rotate(b, q, (ctx.cos, ctx.sin), heads, row), rotate(b, k, (ctx.cos, ctx.sin), kv_heads)
    if row is None and config.causal:
        return _apart.attend_causal(b, heads, kv_heads, q, k, v, ctx.lengths, at)
    k, v = _repeat_heads(b, config, k), _repeat_heads(b, config, v)
    return _apart.attend(b, heads, q, k, v, ctx.lengths, at, one_row=row is not None)


def _repeat_heads(b: Builder, config: Config, x: str) -> str:
    """Give every query head its own copy of the key head that it shares."""
    return repeat_heads(b, x, config.num_key_value_heads, config.num_attention_heads // config.num_key_value_heads)
