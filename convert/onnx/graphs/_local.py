"""Attention within a window: a token sees so many others `before` and `after` it, and itself.

Queries are cut into blocks, and the keys of a block are its own and those of the blocks beside it: time and memory grow
with the text's length. Every product has the same size, whatever the text's length, so bits do not depend on the batch.
"""

from __future__ import annotations

import numpy as np
from onnx import TensorProto

from .. import standard
from ..builder import MICROSOFT, Builder
from ..standard import LOWEST
from . import _apart
from ._apart import Step

BLOCK = 64  # queries; as many as a window reaches, where that is further. ModernBERT's reaches as far


def attend(
    b: Builder, heads: int, dim: int, q: str, k: str, v: str, lengths: str, at: str, *, before: int, after: int
) -> str:
    """Attend within each text, and there within the window: q, k, v (batch, tokens, dim) -> the same shape.

    In standard operators with a bias for every pair of tokens, and memory with the square of the length.
    """
    if not b.fused:
        bias = _apart.near_bias(b, before, after)
        return standard.attention(b, q, k, v, mask=_apart.padding_mask(b), bias=bias, num_heads=heads)

    def steps(q: str, k: str, v: str, last: str, total: str) -> list[Step]:
        short: list[Step] = [("MultiHeadAttention", [q, k, v], ["out"], {"domain": MICROSOFT, "num_heads": heads})]
        branches = {
            "then_branch": _apart.graph(f"{at}{q}.all.", short),
            "else_branch": _apart.graph(f"{at}{q}.near.", _blocks(b, heads, dim, (q, k, v), total, (before, after))),
        }
        return [
            ("LessOrEqual", [total, b.constant(min(before, after) + 1, np.int32)], ["everyone is near"], {}),
            ("If", ["everyone is near"], ["out"], branches),
        ]

    return _apart.within_texts(b, steps, (q, k, v), lengths, at, one_row=False)


def _blocks(
    b: Builder, heads: int, dim: int, inputs: tuple[str, str, str], total: str, window: tuple[int, int]
) -> list[Step]:
    """List what attends block by block, of texts of the same length `total`, to `out`."""
    before, after = window
    size = max(BLOCK, before, after)
    q, k, v = inputs
    distance = np.arange(-size, 2 * size) - np.arange(size)[:, None]
    near = (distance >= -before) & (distance <= after)
    band = b.weight(f"near.{before}.{after}", np.where(near, 0, LOWEST).astype(np.float32)[None, None])
    options = {"domain": MICROSOFT, "num_heads": heads, "mask_filter_value": LOWEST}
    return [
        *_lengths(b, q, total, size),
        ("Pad", [q, "pads"], ["padded"], {}),
        ("Reshape", ["padded", b.constant([-1, size, dim], np.int64)], ["queries"], {}),
        *_with_neighbours(b, "keys", k, size, dim),
        *_with_neighbours(b, "values", v, size, dim),
        *_real(b, size),
        ("MultiHeadAttention", ["queries", "keys", "values", "", "mask", band], ["attended"], options),
        ("Concat", ["texts", b.constant([-1, dim], np.int64)], ["sizes of rows"], {"axis": 0}),
        ("Reshape", ["attended", "sizes of rows"], ["rows"], {}),
        ("Slice", ["rows", b.constant([0], np.int64), "tokens", b.constant([1], np.int64)], ["out"], {}),
    ]


def _lengths(b: Builder, q: str, total: str, size: int) -> list[Step]:
    """List what counts: blocks, the tokens that they have room for, and the padding that this takes."""
    first, block = b.constant([0], np.int64), b.constant([size], np.int64)
    return [
        ("Shape", [q], ["texts"], {"start": 0, "end": 1}),
        ("Cast", [total], ["length"], {"to": TensorProto.INT64}),
        ("Unsqueeze", ["length", first], ["tokens"], {}),
        ("Add", ["tokens", b.constant([size - 1], np.int64)], ["more"], {}),
        ("Div", ["more", block], ["count"], {}),
        ("Mul", ["count", block], ["filled"], {}),
        ("Sub", ["filled", "tokens"], ["missing"], {}),
        ("Add", ["missing", block], ["behind"], {}),
        ("Concat", [b.constant([0, 0, 0, 0], np.int64), "missing", first], ["pads"], {"axis": 0}),
        ("Concat", [b.constant([0, size, 0, 0], np.int64), "behind", first], ["pads beside"], {"axis": 0}),
    ]


def _with_neighbours(b: Builder, name: str, source: str, size: int, dim: int) -> list[Step]:
    """List what puts each block between the one before and the one after: (texts * blocks, 3 * size, dim)."""
    steps: list[Step] = [("Pad", [source, "pads beside"], [f"{name} padded"], {})]
    axis, shape = b.constant([1], np.int64), b.constant([-1, size, dim], np.int64)
    for n in range(3):
        start = b.constant([n * size], np.int64)
        steps += [
            ("Add", ["filled", start], [f"{name} stop {n}"], {}),
            ("Slice", [f"{name} padded", start, f"{name} stop {n}", axis], [f"{name} part {n}"], {}),
            ("Reshape", [f"{name} part {n}", shape], [f"{name} {n}"], {}),
        ]
    return [*steps, ("Concat", [f"{name} {n}" for n in range(3)], [name], {"axis": 1})]


def _real(b: Builder, size: int) -> list[Step]:
    """List what tells which keys of each block are of the text, and not beyond its ends: int32 (blocks, 3 * size)."""
    zero, one, axis = b.constant(0, np.int64), b.constant(1, np.int64), b.constant([1], np.int64)
    return [
        ("Squeeze", ["count"], ["blocks"], {}),
        ("Range", [zero, "blocks", one], ["block"], {}),
        ("Mul", ["block", b.constant([size], np.int64)], ["start"], {}),
        ("Unsqueeze", ["start", axis], ["starts"], {}),
        ("Add", ["starts", b.constant(np.arange(-size, 2 * size)[None], np.int64)], ["places"], {}),
        ("GreaterOrEqual", ["places", zero], ["begun"], {}),
        ("Less", ["places", "length"], ["before the end"], {}),
        ("And", ["begun", "before the end"], ["inside"], {}),
        ("Cast", ["inside"], ["real"], {"to": TensorProto.INT32}),
        ("Concat", ["texts", "count", b.constant([3 * size], np.int64)], ["sizes"], {"axis": 0}),
        ("Expand", ["real", "sizes"], ["real of all"], {}),
        ("Reshape", ["real of all", b.constant([-1, 3 * size], np.int64)], ["mask"], {}),
    ]
