"""Attention with ALiBi (Press et al. 2022, arXiv 2108.12409) to both sides: a score falls with the tokens' distance.

The bias has an element for every pair of tokens in every head, and no kernel makes it on the way; so queries attend in
blocks, each with its own rows of bias, and memory grows with the text's length instead of its square.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper

from ...checkpoint.source import Array
from .. import standard
from ..builder import MICROSOFT, Builder

ROWS = 256  # queries that attend at once


def slopes(heads: int) -> Array:
    """Return ALiBi's slope of each head: 2^(-8/n), 2^(-16/n), ..., then the odd ones of twice as many heads."""
    whole = 1 << (heads.bit_length() - 1)
    first = [2 ** (-8 * (n + 1) / whole) for n in range(whole)]
    more = [2 ** (-4 * (2 * n + 1) / whole) for n in range(heads - whole)]
    return np.array(first + more, np.float32)


def attend(b: Builder, heads: int, q: str, k: str, v: str, mask: str, at: str, dim: int) -> str:
    """Attend block by block of queries, each with the bias of its own rows: memory grows with the length alone.

    In standard operators all queries attend at once.
    """
    if not b.fused:
        bias = b.cached("alibi", lambda: _bias(b, heads))
        return standard.attention(b, q, k, v, mask=mask, bias=bias, num_heads=heads)
    blocks = b.cached("blocks", lambda: _blocks(b, dim))
    padded = b.node("Pad", q, blocks.pads)
    body = _block(b, heads, padded, (k, v, "", mask), blocks, at)
    out = b.node("Transpose", b.node("Loop", blocks.count, b.constant(True, np.bool_), body=body), perm=[1, 0, 2, 3])
    first, axis = b.constant([0], np.int64), b.constant([1], np.int64)
    return b.node("Slice", b.node("Reshape", out, blocks.whole), first, blocks.tokens, axis)


def _bias(b: Builder, heads: int) -> str:
    """Return the whole bias: (1, heads, tokens, tokens)."""
    tokens = b.node("Squeeze", b.node("Shape", "input_ids", start=1, end=2))
    place = b.node("Range", b.constant(0, np.int64), tokens, b.constant(1, np.int64))
    place = b.node("Cast", place, to=TensorProto.FLOAT)
    distance = b.node("Abs", b.node("Sub", b.node("Unsqueeze", place, b.constant([1], np.int64)), place))
    return b.node("Mul", distance, b.weight("alibi.slopes", -slopes(heads)[None, :, None, None]))


@dataclass(frozen=True)
class _Blocks:
    """How a text's queries are cut into equal blocks: names of int64 values, vectors of one number unless said."""

    count: str  # scalar
    rows: str  # scalar
    pads: str  # for Pad: rows that fill up the last block
    whole: str  # [batch, rows of all blocks, dim]
    tokens: str
    places: str  # float32 (tokens,): 0, 1, 2, ...


def _blocks(b: Builder, dim: int) -> _Blocks:
    zero, one, first = b.constant(0, np.int64), b.constant(1, np.int64), b.constant([0], np.int64)
    tokens = b.node("Shape", "input_ids", start=1, end=2)
    length = b.node("Squeeze", tokens)
    count = b.node("Div", b.node("Add", length, b.constant(ROWS - 1, np.int64)), b.constant(ROWS, np.int64))
    rows = b.node("Div", b.node("Sub", b.node("Add", length, count), one), count)
    total = b.node("Mul", count, rows)
    fill = b.node("Unsqueeze", b.node("Sub", total, length), first)
    batch = b.node("Shape", "input_ids", start=0, end=1)
    return _Blocks(
        count=count,
        rows=rows,
        pads=b.node("Concat", b.constant([0, 0, 0, 0], np.int64), fill, first, axis=0),
        whole=b.node("Concat", batch, b.node("Unsqueeze", total, first), b.constant([dim], np.int64), axis=0),
        tokens=tokens,
        places=b.node("Cast", b.node("Range", zero, length, one), to=TensorProto.FLOAT),
    )


def _block(b: Builder, heads: int, q: str, others: tuple[str, ...], blocks: _Blocks, at: str) -> onnx.GraphProto:
    """Return the graph of one block: number, condition -> condition, attended rows (batch, rows, dim)."""
    one, first, axis = b.constant(1, np.int64), b.constant([0], np.int64), b.constant([1], np.int64)
    negative = b.weight("alibi.slopes", -slopes(heads)[None, :, None, None])
    steps: list[tuple[str, list[str], str, dict[str, Any]]] = [
        ("Mul", ["number", blocks.rows], "start", {}),
        ("Add", ["start", blocks.rows], "stop", {}),
        ("Unsqueeze", ["start", first], "from", {}),
        ("Unsqueeze", ["stop", first], "to", {}),
        ("Slice", [q, "from", "to", axis], "queries", {}),
        ("Range", ["start", "stop", one], "range", {}),
        ("Cast", ["range"], "rows", {"to": TensorProto.FLOAT}),
        ("Unsqueeze", ["rows", axis], "column", {}),
        ("Sub", ["column", blocks.places], "offset", {}),
        ("Abs", ["offset"], "distance", {}),
        ("Mul", ["distance", negative], "bias", {}),
        ("MultiHeadAttention", ["queries", *others, "bias"], "out", {"domain": MICROSOFT, "num_heads": heads}),
        ("Identity", ["before"], "after", {}),
    ]
    inner = {"number", "before", *(output for _, _, output, _ in steps)}
    name = {part: f"{at}block.{part}" for part in inner}
    nodes = [
        helper.make_node(op, [name.get(part, part) for part in inputs], [name[output]], **options)
        for op, inputs, output, options in steps
    ]
    given = [_value(name["number"], TensorProto.INT64, []), _value(name["before"], TensorProto.BOOL, [])]
    made = [_value(name["after"], TensorProto.BOOL, []), _value(name["out"], TensorProto.FLOAT, None)]
    return helper.make_graph(nodes, f"{at}block", given, made)


def _value(name: str, kind: int, shape: list[int] | None) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, kind, shape)
