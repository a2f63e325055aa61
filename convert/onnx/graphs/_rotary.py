"""Rotary positions (Su et al. 2021, arXiv 2104.09864), of as many tokens as a batch's longest text has."""

from __future__ import annotations

import numpy as np
from onnx import TensorProto

from ...checkpoint.source import Array
from ..builder import MICROSOFT, Builder


def tables(b: Builder, name: str, inverse: Array) -> tuple[str, str]:
    """Add the cosines and sines of each place's angles, (tokens, head_dim / 2) each; `inverse`: radians a place."""
    tokens = b.node("Squeeze", b.node("Shape", "input_ids", start=1, end=2))
    at = b.node("Range", b.constant(0, np.int64), tokens, b.constant(1, np.int64))
    column = b.node("Unsqueeze", b.node("Cast", at, to=TensorProto.FLOAT), b.constant([1], np.int64))
    angles = b.node("Mul", column, b.weight(f"{name}.inverse_frequencies", inverse[None]))
    return b.node("Cos", angles), b.node("Sin", angles)


def rotate(b: Builder, x: str, angles: tuple[str, str], heads: int, row: str | None = None) -> str:
    """Turn each head of x (batch, tokens, dim), whose first token has the place 0, by the tables' angles.

    With `row`, the place of each text's one token, x is (batch, 1, dim).
    """
    place = b.constant([0], np.int64) if row is None else b.node("Unsqueeze", row, b.constant([1], np.int64))
    return b.node("RotaryEmbedding", x, place, *angles, domain=MICROSOFT, num_heads=heads)
