"""ModernBERT (Warner et al. 2024, arXiv 2412.13663) as transformers' ModernBertModel computes it."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from edge_embed.architectures._rotary import inverse_frequencies
from edge_embed.architectures.modernbert import PREFIXES, UNUSED, Config
from edge_embed.backends.onnx.names import ALL_ROWS
from edge_embed.spec.model import Pooling

from ...checkpoint.smooth import Pair
from ...checkpoint.source import Array, Reader
from ..builder import MICROSOFT, Builder
from ..levels import linear, table
from . import _apart, _local
from ._rotary import rotate, tables

OPERATORS = {"gelu": "Gelu", "gelu_new": "FastGelu", "gelu_pytorch_tanh": "FastGelu", "silu": "QuickGelu"}


def build(b: Builder, config: Config, tensors: Mapping[str, Array], pooling: Pooling) -> tuple[str, str]:
    """Add the graph of all layers; every row of the last one is kept, whatever the pooling."""
    read, dim = Reader(tensors, PREFIXES), config.hidden_size
    words = read("embeddings.tok_embeddings.weight", config.vocab_size, dim)
    x = _norm(b, read, config, "embeddings.norm", table(b, "input_ids", "embeddings.word", words))
    lengths = b.node("ReduceSum", "attention_mask", b.constant([1], np.int64), keepdims=0)
    for n in range(config.num_hidden_layers):
        x = _layer(b, read, config, n, x, lengths)
    x = _norm(b, read, config, "final_norm", x)
    read.check_all_taken(UNUSED)
    return x, ALL_ROWS


def smooth_pairs(config: Config, tensors: Mapping[str, Array]) -> list[Pair]:
    """List the norms' gains, of norms without a shift that would have to be changed too.

    What the first layer attends to feeds the residual as well; values and gates are part of a wider tensor.
    """
    if config.norm_bias:
        return []
    prefix = Reader(tensors, PREFIXES).prefix
    pairs = []
    for n in range(config.num_hidden_layers):
        at = f"layers.{n}."
        norms = [("mlp_norm", "mlp.Wi"), *([("attn_norm", "attn.Wqkv")] if n else [])]
        pairs += [Pair(f"{prefix}{at}{x}.weight", (f"{prefix}{at}{y}.weight",), f"{at}{y}") for x, y in norms]
    return pairs


def _layer(b: Builder, read: Reader, config: Config, n: int, x: str, lengths: str) -> str:
    """Add one layer: attention and MLP, each normalised before and added; the first has its norm from the table."""
    at, dim, inner = f"layers.{n}.", config.hidden_size, config.intermediate_size
    h = _norm(b, read, config, f"{at}attn_norm", x) if n else x
    attended = _attend(b, read, config, n, h, lengths)
    x = b.node("Add", x, _linear(b, read, f"{at}attn.Wo", attended, dim, dim, bias=config.attention_bias))
    h = _norm(b, read, config, f"{at}mlp_norm", x)
    wide = _linear(b, read, f"{at}mlp.Wi", h, 2 * inner, dim, bias=config.mlp_bias)
    given, gate = b.nodes("Split", wide, outputs=2, axis=-1, num_outputs=2)
    options = {"alpha": 1.0} if config.hidden_activation == "silu" else {}
    active = b.node(OPERATORS[config.hidden_activation], given, domain=MICROSOFT, **options)
    gated = b.node("Mul", active, gate)
    return b.node("Add", x, _linear(b, read, f"{at}mlp.Wo", gated, dim, inner, bias=config.mlp_bias))


def _attend(b: Builder, read: Reader, config: Config, n: int, h: str, lengths: str) -> str:
    """Attend to all of a text, or in a local layer to the neighbours, with rotations of the layer's kind."""
    at, dim, heads = f"layers.{n}.", config.hidden_size, config.num_attention_heads
    local = config.local[n]
    qkv = _linear(b, read, f"{at}attn.Wqkv", h, 3 * dim, dim, bias=config.attention_bias)
    q, k, v = b.nodes("Split", qkv, outputs=3, axis=-1, num_outputs=3)
    theta = config.local_theta if local else config.theta
    angles = b.cached(("rope", local), lambda: tables(b, f"rope.{local}", inverse_frequencies(config.head_dim, theta)))
    q, k = (rotate(b, x, angles, heads) for x in (q, k))
    if local:
        return _local.attend(b, heads, dim, q, k, v, lengths, at, before=config.reach, after=config.reach)
    return _apart.attend(b, heads, q, k, v, lengths, at, one_row=False)


def _linear(b: Builder, read: Reader, at: str, x: str, out: int, size: int, *, bias: bool) -> str:
    product = linear(b, x, at, read(f"{at}.weight", out, size))
    return b.node("Add", product, b.weight(f"{at}.bias", read(f"{at}.bias", out))) if bias else product


def _norm(b: Builder, read: Reader, config: Config, at: str, x: str) -> str:
    dim = config.hidden_size
    shift = read(f"{at}.bias", dim) if config.norm_bias else None
    return b.layer_norm(x, at, read(f"{at}.weight", dim), shift, config.norm_eps)
