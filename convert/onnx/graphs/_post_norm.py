"""Encoders that norm after each addition, as BERT does, with rotary positions or ALiBi."""

from __future__ import annotations

from collections.abc import Mapping
from types import ModuleType

import numpy as np
from onnx import TensorProto

from edge_embed.architectures._post_norm import Config
from edge_embed.backends.onnx.names import ALL_ROWS, ONE_ROW
from edge_embed.spec.model import Pooling

from ...checkpoint.smooth import Pair
from ...checkpoint.source import Array, Reader
from ..builder import MICROSOFT, Builder
from ..levels import linear, linear_with_bias, linear_without_bias, table
from . import _alibi, _apart
from ._bert import OPERATORS
from ._llama import Context, context
from ._rotary import rotate
from ._rows import take_row

GATES: dict[str, tuple[str, dict[str, float]]] = {
    "gelu": ("Gelu", {}),
    "gelu_new": ("FastGelu", {}),
    "gelu_pytorch_tanh": ("FastGelu", {}),
    "silu": ("QuickGelu", {"alpha": 1.0}),
}


def build(
    b: Builder, config: Config, tensors: Mapping[str, Array], pooling: Pooling, *, known: ModuleType
) -> tuple[str, str]:
    """Add the graph of all layers; of rotary ones the last computes one row where the pooling takes one.

    `known` is the architecture's file.
    """
    read = Reader(tensors, known.PREFIXES)
    layers, row = config.num_hidden_layers, None
    x = _embeddings(b, config, read)
    ctx = context(b, config) if config.rotary else None
    for n in range(layers):
        if ctx is not None and n == layers - 1 and pooling in ("first", "last"):
            row = ctx.last if pooling == "last" else b.node("Mul", ctx.last, b.constant(0, np.int64))
        x = _layer(b, config, read, f"layers.{n}.", x, ctx, row)
    read.check_all_taken(known.UNUSED)
    return (x, ALL_ROWS) if row is None else (b.node("Squeeze", x, b.constant([1], np.int64)), ONE_ROW)


def smooth_pairs(config: Config, tensors: Mapping[str, Array]) -> list[Pair]:
    """List nothing: the norms feed the residual too, GELU is not linear, and values alone gained nothing in BERT."""
    return []


def _embeddings(b: Builder, config: Config, read: Reader) -> str:
    dim, types = config.hidden_size, config.type_vocab_size
    x = table(b, "input_ids", "embeddings.word", read("embeddings.word_embeddings.weight", config.vocab_size, dim))
    if types:
        kinds = read("embeddings.token_type_embeddings.weight", types, dim)
        x = b.token_types(b.node("Add", x, b.weight("embeddings.type", kinds[0])), kinds)
    return _norm(b, config, read, "embeddings.LayerNorm", x)


def _layer(b: Builder, config: Config, read: Reader, at: str, x: str, ctx: Context | None, row: str | None) -> str:
    """Add one layer; with `row`, an index for each text, only that row comes out: (batch, 1, dim)."""
    dim = config.hidden_size
    q, k, v = _projected(b, config, read, f"{at}self_attn.", x, row)
    attended = _attend(b, config, at, (q, k, v), ctx, row)
    out = _linear(b, config, read, f"{at}self_attn.o_proj", attended, dim, dim)
    x = x if row is None else take_row(b, x, row)
    out = _norm(b, config, read, f"{at}post_attention_layernorm", b.node("Add", out, x))
    if config.qk_norm:
        out = _norm(b, config, read, f"{at}post_attention_layernorm_2", b.node("Add", out, x))
    added = b.node("Add", out, _mlp(b, config, read, f"{at}mlp.", out))
    return _norm(b, config, read, f"{at}post_mlp_layernorm", added)


def _projected(b: Builder, config: Config, read: Reader, at: str, x: str, row: str | None) -> tuple[str, str, str]:
    """Return queries, of every row or of the one, keys and values."""
    q, k, v = (
        _joined(b, config, read, at, x, "qkv")
        if row is None
        else (
            *_joined(b, config, read, at, take_row(b, x, row), "q"),
            *_joined(b, config, read, at, x, "kv"),
        )
    )
    if config.qk_norm:
        q, k = _norm(b, config, read, f"{at}q_norm", q), _norm(b, config, read, f"{at}k_norm", k)
    return q, k, v


def _joined(b: Builder, config: Config, read: Reader, at: str, x: str, parts: str) -> list[str]:
    """Project rows to some of queries, keys and values in one product."""
    dim, name = config.hidden_size, f"{at}{parts}"
    product = linear(b, x, name, np.concatenate([read(f"{at}{part}_proj.weight", dim, dim) for part in parts]))
    if config.biases:
        biases = np.concatenate([read(f"{at}{part}_proj.bias", dim) for part in parts])
        product = b.node("Add", product, b.weight(f"{name}.bias", biases))
    return (
        b.nodes("Split", product, outputs=len(parts), axis=-1, num_outputs=len(parts)) if len(parts) > 1 else [product]
    )


def _attend(
    b: Builder, config: Config, at: str, qkv: tuple[str, str, str], ctx: Context | None, row: str | None
) -> str:
    heads, (q, k, v) = config.num_attention_heads, qkv
    if ctx is None:
        mask = b.cached("mask", lambda: b.node("Cast", "attention_mask", to=TensorProto.INT32))
        return _alibi.attend(b, heads, q, k, v, mask, at, config.hidden_size)
    q, k = rotate(b, q, (ctx.cos, ctx.sin), heads, row), rotate(b, k, (ctx.cos, ctx.sin), heads)
    return _apart.attend(b, heads, q, k, v, ctx.lengths, at, one_row=row is not None)


def _mlp(b: Builder, config: Config, read: Reader, at: str, x: str) -> str:
    dim, inner = config.hidden_size, config.intermediate_size
    if not config.gated:
        up = linear(b, x, f"{at}fc1", read(f"{at}fc1.weight", inner, dim))
        shift = b.weight(f"{at}fc1.bias", read(f"{at}fc1.bias", inner))
        active = b.node(OPERATORS[config.hidden_act], up, shift, domain=MICROSOFT)
        return linear_with_bias(b, read, f"{at}fc2", active, dim, inner)
    both = [read(f"{at}{name}_proj.weight", inner, dim) for name in ("gate", "up")]
    gate, up = b.nodes("Split", linear(b, x, f"{at}gate_up", np.concatenate(both)), outputs=2, axis=-1, num_outputs=2)
    operator, options = GATES[config.hidden_act]
    active = b.node("Mul", b.node(operator, gate, domain=MICROSOFT, **options), up)
    return _linear(b, config, read, f"{at}down_proj", active, dim, inner)


def _linear(b: Builder, config: Config, read: Reader, at: str, x: str, out: int, size: int) -> str:
    return (linear_with_bias if config.biases else linear_without_bias)(b, read, at, x, out, size)


def _norm(b: Builder, config: Config, read: Reader, at: str, x: str) -> str:
    dim = config.hidden_size
    return b.layer_norm(x, at, read(f"{at}.weight", dim), read(f"{at}.bias", dim), config.layer_norm_eps)
