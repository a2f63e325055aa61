"""Gemma 3's text model as transformers' Gemma3TextModel computes it, no LM head; EmbeddingGemma."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from edge_embed.architectures.gemma3_text import PREFIXES, UNUSED, Config
from edge_embed.backends.onnx.names import ALL_ROWS
from edge_embed.spec.model import Pooling

from ...checkpoint.smooth import Pair
from ...checkpoint.source import Array, Reader
from ..builder import MICROSOFT, Builder
from ..levels import gated, linear, table
from ..standard import repeat_heads
from . import _apart, _llama, _local

__all__ = ["build", "smooth_pairs"]


def build(b: Builder, config: Config, tensors: Mapping[str, Array], pooling: Pooling) -> tuple[str, str]:
    """Add the graph of all layers; every row of the last one is kept, whatever the pooling."""
    read = Reader(tensors, PREFIXES)
    lengths = b.node("ReduceSum", "attention_mask", b.constant([1], np.int64), keepdims=0)
    x = table(b, "input_ids", "embed_tokens", read("embed_tokens.weight", config.vocab_size, config.hidden_size))
    x = b.node("Mul", x, b.constant(config.embedding_scale, np.float32))
    for n in range(config.num_hidden_layers):
        x = _layer(b, read, config, n, x, lengths)
    x = _norm(b, read, config, "norm", x)
    read.check_all_taken(UNUSED)
    return x, ALL_ROWS


def smooth_pairs(config: Config, tensors: Mapping[str, Array]) -> list[Pair]:
    """List what makes the channels that linear layers read: gains of norms, `up_proj`, `v_proj`."""
    return _llama.smooth_pairs(config, tensors, norms=("input_layernorm", "pre_feedforward_layernorm"), shift=1)


def _layer(b: Builder, read: Reader, config: Config, n: int, x: str, lengths: str) -> str:
    at, dim, inner = f"layers.{n}.", config.hidden_size, config.intermediate_size
    q_dim = config.num_attention_heads * config.head_dim
    attended = _attend(b, read, config, n, _norm(b, read, config, f"{at}input_layernorm", x), lengths)
    h = linear(b, attended, f"{at}self_attn.o_proj", read(f"{at}self_attn.o_proj.weight", dim, q_dim))
    x = b.node("Add", x, _norm(b, read, config, f"{at}post_attention_layernorm", h))
    h = _norm(b, read, config, f"{at}pre_feedforward_layernorm", x)
    gate = linear(b, h, f"{at}mlp.gate_proj", read(f"{at}mlp.gate_proj.weight", inner, dim))
    active = b.node("FastGelu", gate, domain=MICROSOFT)
    rows = gated(b, h, f"{at}mlp.up_proj", read(f"{at}mlp.up_proj.weight", inner, dim), active)
    h = linear(b, rows, f"{at}mlp.down_proj", read(f"{at}mlp.down_proj.weight", dim, inner))
    return b.node("Add", x, _norm(b, read, config, f"{at}post_feedforward_layernorm", h))


def _attend(b: Builder, read: Reader, config: Config, n: int, h: str, lengths: str) -> str:
    """Turn normed queries and keys by the layer's own theta, and attend to all of the text or to neighbours."""
    at, heads, kv_heads = f"layers.{n}.self_attn.", config.num_attention_heads, config.num_key_value_heads
    widths = {"q": heads * config.head_dim, "k": kv_heads * config.head_dim, "v": kv_heads * config.head_dim}
    q, k, v = (
        linear(b, h, f"{at}{part}_proj", read(f"{at}{part}_proj.weight", width, config.hidden_size))
        for part, width in widths.items()
    )
    windowed = config.windowed[n]
    name = "rope.local" if windowed else "rope"
    turns = b.cached(name, lambda: _llama.rotations(b, config.of_layer(n), name))
    start = b.constant([0], np.int64)
    q = _head_norm(b, read, config, f"{at}q_norm", q, config.query_scale)
    k = _head_norm(b, read, config, f"{at}k_norm", k, np.float32(1))
    q = b.node("RotaryEmbedding", q, start, *turns, domain=MICROSOFT, num_heads=heads)
    k = b.node("RotaryEmbedding", k, start, *turns, domain=MICROSOFT, num_heads=kv_heads)
    if config.causal:
        window = config.sliding_window if windowed else None
        return _apart.attend_causal(b, heads, kv_heads, q, k, v, lengths, at, window)
    k, v = (repeat_heads(b, x, kv_heads, heads // kv_heads) for x in (k, v))
    if windowed:
        return _local.attend(b, heads, widths["q"], q, k, v, lengths, at, before=config.before, after=config.after)
    return _apart.attend(b, heads, q, k, v, lengths, at, one_row=False)


def _head_norm(b: Builder, read: Reader, config: Config, at: str, x: str, scale: np.float32) -> str:
    """Normalise each head by itself; turning what is scaled gives what is turned, scaled."""
    heads = b.node("Reshape", x, b.constant([0, 0, -1, config.head_dim], np.int64))
    gain = (1 + read(f"{at}.weight", config.head_dim)) * scale
    normed = b.rms_norm(heads, at, gain, config.rms_norm_eps)
    return b.node("Reshape", normed, b.constant([0, 0, -1], np.int64))


def _norm(b: Builder, read: Reader, config: Config, at: str, x: str) -> str:
    return b.rms_norm(x, at, 1 + read(f"{at}.weight", config.hidden_size), config.rms_norm_eps)
