"""Attention without a mask: a text that stands in a batch with longer ones is cut to its own length and attends alone.

A mask of padding takes another kernel than a batch without padding, and sums that are as wide as the longest text, so
that a vector's last bits, and in int8 its codes, would depend on its batch. It also takes memory with the square of
the length, where the kernel without a mask takes it in proportion (Dao et al. 2022, arXiv 2205.14135). The products of
the linear layers, which are nearly all the work, stay batched.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper

from .. import standard
from ..builder import MICROSOFT, Builder

Value = tuple[str, int]  # name, type of element
Step = tuple[str, list[str], list[str], dict[str, Any]]  # operator, inputs, outputs, attributes


def attend(b: Builder, heads: int, q: str, k: str, v: str, lengths: str, at: str, *, one_row: bool) -> str:
    """Attend within each text to both sides: q (batch, tokens, dim), or with `one_row` (batch, 1, dim), to k and v.

    `lengths` (batch,) says how many tokens of each text are no padding; rows of padding come out as 0. In standard
    operators padding is masked, and its rows come out as they may.
    """
    if not b.fused:
        return standard.attention(b, q, k, v, mask=padding_mask(b), num_heads=heads)

    def steps(q: str, k: str, v: str, *_: str) -> list[Step]:
        return [("MultiHeadAttention", [q, k, v], ["out"], {"domain": MICROSOFT, "num_heads": heads})]

    return within_texts(b, steps, (q, k, v), lengths, at, one_row=one_row)


def near_bias(b: Builder, before: int, after: int) -> str:
    """Return what is added to the score of each token (row) with each other: 0, or as little as makes it not count."""

    def make() -> str:
        tokens = b.node("Squeeze", b.node("Shape", "input_ids", start=1, end=2))
        place = b.node("Range", b.constant(0, np.int64), tokens, b.constant(1, np.int64))
        behind = b.node("Sub", place, b.node("Unsqueeze", place, b.constant([1], np.int64)))
        early = b.node("GreaterOrEqual", behind, b.constant(-before, np.int64))
        late = b.node("LessOrEqual", behind, b.constant(after, np.int64))
        lowest = b.constant(standard.LOWEST, np.float32)
        scores = b.node("Where", b.node("And", early, late), b.constant(0, np.float32), lowest)
        return b.node("Unsqueeze", scores, b.constant([0, 1], np.int64))

    return b.cached(("near", before, after), make)


def attend_causal(
    b: Builder, heads: int, kv_heads: int, q: str, k: str, v: str, lengths: str, at: str, window: int | None = None
) -> str:
    """Attend within each text, each token to itself and those before it; k and v have `kv_heads`.

    With a `window` to so many tokens at most, itself among them.
    """
    if not b.fused:
        k, v = (standard.repeat_heads(b, x, kv_heads, heads // kv_heads) for x in (k, v))
        bias = near_bias(b, window - 1, 0) if window else standard.causal_bias(b)
        return standard.attention(b, q, k, v, mask=padding_mask(b), bias=bias, num_heads=heads)
    attributes = {"domain": MICROSOFT, "num_heads": heads, "kv_num_heads": kv_heads}
    attributes |= {"local_window_size": window} if window else {}

    def steps(q: str, k: str, v: str, last: str, total: str) -> list[Step]:
        # Without keys and values as outputs the kernel is not the linear one; with outputs that nobody reads, ONNX
        # Runtime keeps every layer's until the run ends. So their shape is read, which frees them.
        return [
            (
                "GroupQueryAttention",
                [q, k, v, "", "", last, total],
                ["rows of all", "kept keys", "kept values"],
                attributes,
            ),
            ("Shape", ["kept values"], ["batch"], {"start": 0, "end": 1}),
            ("Shape", ["kept keys"], ["tokens"], {"start": 2, "end": 3}),
            ("Concat", ["batch", "tokens", b.constant([-1], np.int64)], ["sizes"], {"axis": 0}),
            ("Reshape", ["rows of all", "sizes"], ["out"], {}),
        ]

    return within_texts(b, steps, (q, k, v), lengths, at, one_row=False)


def padding_mask(b: Builder) -> str:
    """Return which tokens are no padding, int32 (batch, tokens)."""
    return b.cached("mask", lambda: b.node("Cast", "attention_mask", to=TensorProto.INT32))


def within_texts(
    b: Builder, steps: Callable[..., list[Step]], inputs: tuple[str, str, str], lengths: str, at: str, *, one_row: bool
) -> str:
    """Run the steps, from q, k, v to `out`, on the whole batch where all texts are equally long, else on each text.

    `steps` takes the names of q, k and v, of each text's last index (int32) and of the longest one's length (int32).
    """
    texts = b.cached("texts", lambda: _texts(b, lengths))
    together = steps(*inputs, texts.last, texts.total)
    body = _text(b, f"{at}text.", steps, inputs, texts, one_row)
    apart: list[Step] = [
        ("Loop", [texts.count, b.constant(True, np.bool_)], ["stacked"], {"body": body}),
        ("Squeeze", ["stacked", b.constant([1], np.int64)], ["out"], {}),
    ]
    branches = {"then_branch": graph(f"{at}together.", together), "else_branch": graph(f"{at}apart.", apart)}
    return b.node("If", texts.equally_long, **branches)


@dataclass(frozen=True)
class _Texts:
    """What every layer asks of the texts: names of int64 values unless said."""

    count: str  # scalar
    starts: str  # (batch, 2): line of the batch, 0
    stops: str  # (batch, 2): the next line, tokens of the text
    pads: str  # (batch, 6), for Pad: tokens of padding at the end
    last: str  # int32 (batch,): index of each text's last token
    total: str  # int32 scalar: tokens of the longest text
    totals: str  # int32 (batch,): tokens of each text
    equally_long: str  # bool


def _texts(b: Builder, lengths: str) -> _Texts:
    """Tell where each text lies in the batch, once for all layers."""
    zero, one, axis = b.constant(0, np.int64), b.constant(1, np.int64), b.constant([1], np.int64)
    count = b.node("Squeeze", b.node("Shape", lengths))
    line = b.node("Unsqueeze", b.node("Range", zero, count, one), axis)
    nothing, length = b.node("Sub", line, line), b.node("Unsqueeze", lengths, axis)
    missing = b.node("Sub", b.node("Shape", "input_ids", start=1, end=2), length)
    totals = b.node("Cast", lengths, to=TensorProto.INT32)
    return _Texts(
        count=count,
        starts=b.node("Concat", line, nothing, axis=1),
        stops=b.node("Concat", b.node("Add", line, one), length, axis=1),
        pads=b.node("Concat", *[nothing] * 4, missing, nothing, axis=1),
        last=b.node("Sub", totals, b.constant(1, np.int32)),
        total=b.node("ReduceMax", totals, keepdims=0),
        totals=totals,
        equally_long=b.node("Equal", b.node("ReduceMax", missing, keepdims=0), zero),
    )


def _text(
    b: Builder, at: str, attend: Callable[..., list[Step]], inputs: tuple[str, str, str], texts: _Texts, one_row: bool
) -> onnx.GraphProto:
    """Return the graph of one text: number, condition -> condition, attended rows (1, as many as q has, dim)."""
    q, k, v = inputs
    axes = b.constant([0, 1], np.int64)
    steps: list[Step] = [
        ("Gather", [texts.starts, "number"], ["from"], {}),
        ("Gather", [texts.stops, "number"], ["to"], {}),
        ("Slice", [q, "from", "to", axes], ["queries"], {}),
        ("Slice", [k, "from", "to", axes], ["keys"], {}),
        ("Slice", [v, "from", "to", axes], ["values"], {}),
        ("Gather", [texts.totals, "number"], ["length"], {}),
        ("Sub", ["length", b.constant([1], np.int32)], ["last"], {}),
        *attend(*(f"{at}{name}" for name in ("queries", "keys", "values", "last", "length"))),
        ("Identity", ["before"], ["after"], {}),
    ]
    if not one_row:
        steps += [("Gather", [texts.pads, "number"], ["pads"], {}), ("Pad", ["out", "pads"], ["padded"], {})]
    given = [("number", TensorProto.INT64), ("before", TensorProto.BOOL)]
    return graph(at, steps, given, [("after", TensorProto.BOOL), ("out" if one_row else "padded", TensorProto.FLOAT)])


def graph(
    at: str, steps: list[Step], given: Sequence[Value] = (), made: Sequence[Value] = (("out", TensorProto.FLOAT),)
) -> onnx.GraphProto:
    """Return a graph of steps; `at` stands before the names that are its own, others are the outer graph's."""
    own = {name: f"{at}{name}" for name in [*dict(given), *(name for step in steps for name in step[2])]}
    nodes = [
        helper.make_node(op, [own.get(name, name) for name in inputs], [own[name] for name in outputs], **attributes)
        for op, inputs, outputs, attributes in steps
    ]
    inputs, outputs = ([_value(own[name], kind) for name, kind in side] for side in (given, made))
    return helper.make_graph(nodes, at.rstrip("."), inputs, outputs)


def _value(name: str, kind: int) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, kind, None if kind == TensorProto.FLOAT else [])
