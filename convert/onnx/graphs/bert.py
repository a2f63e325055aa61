"""BERT (Devlin et al. 2018, arXiv 1810.04805) as transformers' BertModel computes it, token type 0 throughout."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from onnx import TensorProto

from edge_embed.architectures.bert import PREFIXES, UNUSED, Config
from edge_embed.backends.onnx.names import ALL_ROWS
from edge_embed.spec.model import Pooling

from ...checkpoint.smooth import Pair
from ...checkpoint.source import Array, Reader
from ..builder import MICROSOFT, Builder
from ..levels import linear, table

OPERATORS = {"gelu": "BiasGelu", "gelu_new": "FastGelu", "gelu_pytorch_tanh": "FastGelu"}


def build(b: Builder, config: Config, tensors: Mapping[str, Array], pooling: Pooling) -> tuple[str, str]:
    """Add the graph of all layers; every row of the last one is kept, whatever the pooling."""
    read = Reader(tensors, PREFIXES)
    epsilon = config.layer_norm_eps
    x = _embeddings(b, config, read, epsilon)
    mask = b.node("Cast", "attention_mask", to=TensorProto.INT32)
    for n in range(config.num_hidden_layers):
        x = _layer(b, config, read, f"encoder.layer.{n}.", x, mask, epsilon)
    read.check_all_taken(UNUSED)
    return x, ALL_ROWS


def smooth_pairs(config: Config, tensors: Mapping[str, Array]) -> list[Pair]:
    """List nothing: BERT's norms feed the residual too, GELU is not linear, and `value` alone gained nothing."""
    return []


def _embeddings(b: Builder, config: Config, read: Reader, epsilon: float) -> str:
    """Add word and position; the one token type is part of the position table."""
    dim, length, types = config.hidden_size, config.max_position_embeddings, config.type_vocab_size
    words = read("embeddings.word_embeddings.weight", config.vocab_size, dim)
    positions = read("embeddings.position_embeddings.weight", length, dim)
    positions = positions + read("embeddings.token_type_embeddings.weight", types, dim)[0]
    tokens = b.node("Shape", "input_ids", start=1, end=2)
    zero, one = b.constant([0], np.int64), b.constant([1], np.int64)
    position = b.node("Slice", b.weight("embeddings.position", positions[None]), zero, tokens, one)
    x = b.node("Add", table(b, "input_ids", "embeddings.word", words), position)
    return _norm(b, read, "embeddings.LayerNorm", x, dim, epsilon)


def _layer(b: Builder, config: Config, read: Reader, at: str, x: str, mask: str, epsilon: float) -> str:
    dim, inner, heads = config.hidden_size, config.intermediate_size, config.num_attention_heads
    parts = [f"{at}attention.self.{name}" for name in ("query", "key", "value")]
    weight = np.concatenate([read(f"{part}.weight", dim, dim) for part in parts])
    bias = np.concatenate([read(f"{part}.bias", dim) for part in parts])
    qkv = b.nodes("Split", linear(b, x, f"{at}qkv", weight), outputs=3, axis=-1, num_outputs=3)
    attended = b.node(
        "MultiHeadAttention", *qkv, b.weight(f"{at}qkv.bias", bias), mask, domain=MICROSOFT, num_heads=heads
    )
    x = _add_norm(b, read, f"{at}attention.output", attended, x, (dim, dim), epsilon)
    up = linear(b, x, f"{at}intermediate", read(f"{at}intermediate.dense.weight", inner, dim))
    shift = b.weight(f"{at}intermediate.bias", read(f"{at}intermediate.dense.bias", inner))
    active = b.node(OPERATORS[config.hidden_act], up, shift, domain=MICROSOFT)
    return _add_norm(b, read, f"{at}output", active, x, (dim, inner), epsilon)


def _add_norm(b: Builder, read: Reader, at: str, x: str, residual: str, shape: tuple[int, int], epsilon: float) -> str:
    """Project, add bias and residual, normalise."""
    x = linear(b, x, f"{at}.dense", read(f"{at}.dense.weight", *shape))
    x = b.node("Add", x, b.weight(f"{at}.dense.bias", read(f"{at}.dense.bias", shape[0])))
    return _norm(b, read, f"{at}.LayerNorm", b.node("Add", x, residual), shape[0], epsilon)


def _norm(b: Builder, read: Reader, at: str, x: str, dim: int, epsilon: float) -> str:
    return b.layer_norm(x, at, read(f"{at}.weight", dim), read(f"{at}.bias", dim), epsilon)
