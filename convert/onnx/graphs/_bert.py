"""BERT and its kin, as transformers' classes compute them, token type 0 throughout where the builder has no types."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import ModuleType

import numpy as np
from onnx import TensorProto

from edge_embed.architectures._bert import Learned, Names
from edge_embed.backends.onnx.names import ALL_ROWS
from edge_embed.spec.model import Pooling

from ...checkpoint.smooth import Pair
from ...checkpoint.source import Array, Reader
from ..builder import MICROSOFT, Builder
from ..levels import linear, linear_with_bias, table

OPERATORS = {"gelu": "BiasGelu", "gelu_new": "FastGelu", "gelu_pytorch_tanh": "FastGelu"}


def build(
    b: Builder,
    config: Learned,
    tensors: Mapping[str, Array],
    pooling: Pooling,
    *,
    known: ModuleType,
    biases: Callable[[Builder, Learned, Reader], str] = lambda b, config, read: "",
) -> tuple[str, str]:
    """Add the graph of all layers; every row of the last one is kept, whatever the pooling.

    `known` is the architecture's file. `biases` adds what is added to all layers' scores, (1, heads, tokens, tokens).
    """
    read = Reader(tensors, known.PREFIXES)
    bias = biases(b, config, read)
    x = _embeddings(b, config, read)
    mask = b.node("Cast", "attention_mask", to=TensorProto.INT32)
    for n in range(config.num_hidden_layers):
        x = _layer(b, config, read, known.NAMES, f"{known.NAMES.layer}{n}.", x, mask, bias)
    read.check_all_taken(known.UNUSED)
    return x, ALL_ROWS


def smooth_pairs(config: Learned, tensors: Mapping[str, Array]) -> list[Pair]:
    """List nothing: BERT's norms feed the residual too, GELU is not linear, and `value` alone gained nothing."""
    return []


def _embeddings(b: Builder, config: Learned, read: Reader) -> str:
    """Add word and position; the one token type, where there is one, is part of the position table."""
    dim, length, types = config.hidden_size, config.max_position_embeddings, config.type_vocab_size
    words = read("embeddings.word_embeddings.weight", config.vocab_size, dim)
    positions = read("embeddings.position_embeddings.weight", length, dim)[config.first_position :]
    if types:
        kinds = read("embeddings.token_type_embeddings.weight", types, dim)
        positions = positions + kinds[0]
    tokens = b.node("Shape", "input_ids", start=1, end=2)
    zero, one = b.constant([0], np.int64), b.constant([1], np.int64)
    position = b.node("Slice", b.weight("embeddings.position", positions[None]), zero, tokens, one)
    x = b.node("Add", table(b, "input_ids", "embeddings.word", words), position)
    if types:
        x = b.token_types(x, kinds)
    return _norm(b, read, "embeddings.LayerNorm", x, config)


def _layer(b: Builder, config: Learned, read: Reader, names: Names, at: str, x: str, mask: str, bias: str) -> str:
    dim, inner, heads = config.hidden_size, config.intermediate_size, config.num_attention_heads
    parts = [f"{at}{name}" for name in (names.query, names.key, names.value)]
    weight = np.concatenate([read(f"{part}.weight", dim, dim) for part in parts])
    shifts = b.weight(f"{at}qkv.bias", np.concatenate([read(f"{part}.bias", dim) for part in parts]))
    qkv = b.nodes("Split", linear(b, x, f"{at}qkv", weight), outputs=3, axis=-1, num_outputs=3)
    inputs = [*qkv, shifts, mask, *([bias] if bias else [])]
    attended = b.node("MultiHeadAttention", *inputs, domain=MICROSOFT, num_heads=heads)
    attended = linear_with_bias(b, read, f"{at}{names.attended}", attended, dim, dim)
    x = _norm(b, read, f"{at}{names.attention_norm}", b.node("Add", attended, x), config)
    up = linear(b, x, f"{at}{names.up}", read(f"{at}{names.up}.weight", inner, dim))
    shift = b.weight(f"{at}{names.up}.bias", read(f"{at}{names.up}.bias", inner))
    active = b.node(OPERATORS[config.hidden_act], up, shift, domain=MICROSOFT)
    down = linear_with_bias(b, read, f"{at}{names.down}", active, dim, inner)
    return _norm(b, read, f"{at}{names.norm}", b.node("Add", down, x), config)


def _norm(b: Builder, read: Reader, at: str, x: str, config: Learned) -> str:
    dim = config.hidden_size
    return b.layer_norm(x, at, read(f"{at}.weight", dim), read(f"{at}.bias", dim), config.layer_norm_eps)
