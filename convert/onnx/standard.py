"""ONNX Runtime's own operators, each as nodes of ONNX's standard ones: what `portable.Builder` puts in their place.

OPERATORS has one function for each, called with the operator's inputs and attributes. MatMulNBits stays as it is: the
readers of 4-bit graphs (onnxruntime, onnxruntime-web, OpenVINO) all know it, and their published graphs have it.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from onnx import TensorProto

from .builder import Builder

LOWEST = -1e30  # a score that does not count; the sum of several stays finite


def attention(
    b: Builder,
    q: str,
    k: str,
    v: str,
    shifts: str = "",
    mask: str = "",
    bias: str = "",
    *,
    num_heads: int,
    scale: float | None = None,
) -> str:
    """MultiHeadAttention: softmax(q k / sqrt(head) + bias) v, for q, k and v (batch, tokens, heads * head).

    `shifts` (3 * dim,) are added to q, k and v; where `mask` (batch, tokens) is 0 a key does not count.
    """
    if shifts:
        parts = b.nodes("Split", shifts, outputs=3, axis=0, num_outputs=3)
        q, k, v = (b.node("Add", x, shift) for x, shift in zip((q, k, v), parts, strict=True))
    q, k, v = (_split(b, x, num_heads) for x in (q, k, v))
    queries = b.node("Transpose", q, perm=[0, 2, 1, 3])
    if scale is None:
        size = b.node("Cast", b.node("Shape", q, start=3, end=4), to=TensorProto.FLOAT)
        queries = b.node("Div", queries, b.node("Sqrt", size))
    else:
        queries = b.node("Mul", queries, b.constant(scale, np.float32))
    scores = b.node("MatMul", queries, b.node("Transpose", k, perm=[0, 2, 3, 1]))
    for more in filter(None, (bias, mask and _mask_bias(b, mask))):
        scores = b.node("Add", scores, more)
    rows = b.node("MatMul", b.node("Softmax", scores, axis=-1), b.node("Transpose", v, perm=[0, 2, 1, 3]))
    return b.node("Reshape", b.node("Transpose", rows, perm=[0, 2, 1, 3]), b.constant([0, 0, -1], np.int64))


def _split(b: Builder, x: str, heads: int) -> str:
    """Cut rows into heads: (batch, tokens, heads, head)."""
    return b.node("Reshape", x, b.constant([0, 0, heads, -1], np.int64))


def _mask_bias(b: Builder, mask: str) -> str:
    """Return what is added to the scores of keys that do not count: (batch, 1, 1, tokens)."""

    def make() -> str:
        off = b.node("Equal", mask, b.constant(0, np.int32))
        bias = b.node("Where", off, b.constant(LOWEST, np.float32), b.constant(0, np.float32))
        return b.node("Unsqueeze", bias, b.constant([1, 2], np.int64))

    return b.cached(("mask", mask), make)


def causal_bias(b: Builder) -> str:
    """Return what is added to the scores of keys that come after their query: (1, 1, tokens, tokens)."""

    def make() -> str:
        tokens = b.node("Squeeze", b.node("Shape", "input_ids", start=1, end=2))
        place = b.node("Range", b.constant(0, np.int64), tokens, b.constant(1, np.int64))
        later = b.node("Less", b.node("Unsqueeze", place, b.constant([1], np.int64)), place)
        bias = b.node("Where", later, b.constant(LOWEST, np.float32), b.constant(0, np.float32))
        return b.node("Unsqueeze", bias, b.constant([0, 1], np.int64))

    return b.cached("causal", make)


def repeat_heads(b: Builder, x: str, kv_heads: int, copies: int) -> str:
    """Give every query head its own copy of the key head that it shares: (batch, tokens, all heads * head)."""
    if copies == 1:
        return x
    grouped = b.node("Reshape", x, b.constant([0, 0, kv_heads, 1, -1], np.int64))
    tiled = b.node("Tile", grouped, b.constant([1, 1, 1, copies, 1], np.int64))
    return b.node("Reshape", tiled, b.constant([0, 0, -1], np.int64))


def rotary_embedding(
    b: Builder, x: str, start: str, cos: str, sin: str, *, num_heads: int, interleaved: int = 0
) -> str:
    """RotaryEmbedding: turn pairs of a head's numbers by the angles of rows from `start` (1,) on."""
    rows = b.node("Add", start, b.node("Shape", x, start=1, end=2))
    cos, sin = (_angles(b, table, start, rows) for table in (cos, sin))
    heads = _split(b, x, num_heads)
    if interleaved:
        heads = b.node("Reshape", heads, b.constant([0, 0, num_heads, -1, 2], np.int64))
    first, second = b.nodes("Split", heads, outputs=2, axis=-1, num_outputs=2)
    if interleaved:
        first, second = (b.node("Squeeze", half, b.constant([-1], np.int64)) for half in (first, second))
    turned = [
        b.node("Sub", b.node("Mul", first, cos), b.node("Mul", second, sin)),
        b.node("Add", b.node("Mul", second, cos), b.node("Mul", first, sin)),
    ]
    if interleaved:
        turned = [b.node("Unsqueeze", half, b.constant([-1], np.int64)) for half in turned]
    return b.node("Reshape", b.node("Concat", *turned, axis=-1), b.constant([0, 0, -1], np.int64))


def _angles(b: Builder, table: str, start: str, end: str) -> str:
    """Cut the rows of a table (tokens, head / 2) that there are tokens for: (tokens, 1, head / 2)."""

    def make() -> str:
        rows = b.node("Slice", table, start, end, b.constant([0], np.int64))
        return b.node("Unsqueeze", rows, b.constant([1], np.int64))

    return b.cached(("angles", table, start), make)


def rms_norm(b: Builder, x: str, weight: str, *, epsilon: float, axis: int = -1) -> str:
    """SimplifiedLayerNormalization."""
    square = b.node("ReduceMean", b.node("Mul", x, x), b.constant([axis], np.int64), keepdims=1)
    root = b.node("Sqrt", b.node("Add", square, b.constant(epsilon, np.float32)))
    return b.node("Mul", b.node("Div", x, root), weight)


def gelu(b: Builder, x: str, shift: str = "") -> str:
    """Gelu and BiasGelu: x times the normal distribution's integral up to x (Hendrycks & Gimpel, arXiv 1606.08415)."""
    x = b.node("Add", x, shift) if shift else x
    wide = b.node("Erf", b.node("Div", x, b.constant(math.sqrt(2), np.float32)))
    return _half_of(b, x, wide)


def fast_gelu(b: Builder, x: str, shift: str = "") -> str:
    """FastGelu: the same, approximated by tanh."""
    x = b.node("Add", x, shift) if shift else x
    cube = b.node("Mul", b.node("Mul", x, x), x)
    wide = b.node("Add", x, b.node("Mul", cube, b.constant(0.044715, np.float32)))
    return _half_of(b, x, b.node("Tanh", b.node("Mul", wide, b.constant(math.sqrt(2 / math.pi), np.float32))))


def _half_of(b: Builder, x: str, share: str) -> str:
    whole = b.node("Mul", x, b.node("Add", share, b.constant(1, np.float32)))
    return b.node("Mul", whole, b.constant(0.5, np.float32))


def quick_gelu(b: Builder, x: str, *, alpha: float) -> str:
    """QuickGelu: x * sigmoid(alpha x)."""
    inner = x if alpha == 1 else b.node("Mul", x, b.constant(alpha, np.float32))
    return b.node("Mul", x, b.node("Sigmoid", inner))


def integer_product(b: Builder, x: str, weight: str, step: str, scale: str, zero: str) -> str:
    """MatMulIntegerToFloat: the product of integers, times the steps of both sides."""
    product = b.node("Cast", b.node("MatMulInteger", x, weight, zero), to=TensorProto.FLOAT)
    return b.node("Mul", product, b.node("Mul", step, scale))


OPERATORS: dict[str, Callable[..., str]] = {
    "BiasGelu": gelu,
    "FastGelu": fast_gelu,
    "Gelu": gelu,
    "MatMulIntegerToFloat": integer_product,
    "MultiHeadAttention": attention,
    "QuickGelu": quick_gelu,
    "RotaryEmbedding": rotary_embedding,
    "SimplifiedLayerNormalization": rms_norm,
}
