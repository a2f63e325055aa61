"""What makes a text's vector of its rows, as nodes of a graph: pooling, Dense modules, normalisation.

The runtime does the same in NumPy (edge_embed/pipeline/head.py); this is for readers that take a graph's own vector.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from onnx import TensorProto

from edge_embed.pipeline.head import Head
from edge_embed.spec.dense import Activation
from edge_embed.spec.model import Pooling

from .builder import Builder
from .standard import LOWEST, gelu, quick_gelu

SMALLEST = 1e-12  # of a length that divides, as PyTorch's normalize has it
ACTIVATIONS: dict[Activation, Callable[[Builder, str], str]] = {
    "identity": lambda b, x: x,
    "tanh": lambda b, x: b.node("Tanh", x),
    "relu": lambda b, x: b.node("Relu", x),
    "sigmoid": lambda b, x: b.node("Sigmoid", x),
    "gelu": gelu,
    "silu": lambda b, x: quick_gelu(b, x, alpha=1),
}


def add_head(b: Builder, rows: str, head: Head, normalize: bool) -> str:
    """Turn rows (batch, tokens, width) into vectors (batch, dim); `attention_mask` says what is padding, on any side.

    transformers.js takes the last column for the last token, and so pads on the left.
    """
    x = _pool(b, rows, head.pooling)
    for n, layer in enumerate(head.layers):
        x = b.node("MatMul", x, b.weight(f"dense.{n}.weight", layer.weight.T))
        if layer.bias is not None:
            x = b.node("Add", x, b.weight(f"dense.{n}.bias", layer.bias))
        x = ACTIVATIONS[layer.activation](b, x)
    if normalize:
        length = b.node("ReduceL2", x, b.constant([-1], np.int64), keepdims=1)
        x = b.node("Div", x, b.node("Max", length, b.constant(SMALLEST, np.float32)))
    return x


def _pool(b: Builder, rows: str, pooling: Pooling) -> str:
    axis, last = b.constant([1], np.int64), b.constant([-1], np.int64)
    mask = b.node("Cast", "attention_mask", to=TensorProto.FLOAT)
    if pooling in ("first", "last"):
        if pooling == "last":
            mask = b.node("Mul", mask, b.node("CumSum", mask, b.constant(1, np.int64)))
        return b.node("GatherND", rows, b.node("ArgMax", mask, axis=1, keepdims=1), batch_dims=1)
    mask = b.node("Unsqueeze", mask, last)
    if pooling == "max":
        kept = b.node("Where", b.node("Cast", mask, to=TensorProto.BOOL), rows, b.constant(LOWEST, np.float32))
        return b.node("ReduceMax", kept, axis, keepdims=0)
    if pooling == "weightedmean":
        mask = b.node("Mul", mask, b.node("CumSum", mask, b.constant(1, np.int64)))
    total = b.node("ReduceSum", b.node("Mul", rows, mask), axis, keepdims=0)
    count = b.node("ReduceSum", mask, axis, keepdims=0)
    if pooling == "mean_sqrt_len":
        count = b.node("Sqrt", count)
    return b.node("Div", total, b.node("Max", count, b.constant(SMALLEST, np.float32)))
