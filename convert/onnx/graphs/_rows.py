"""Which rows of hidden states go on, where a last layer is computed for one of each text or image alone."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ..builder import Builder

Pick = Callable[[str], str]  # (batch, rows, dim) -> (batch, 1, dim)


def first_row(b: Builder, x: str) -> str:
    """Pick the first row of each."""
    zero, one = b.constant([0], np.int64), b.constant([1], np.int64)
    return b.node("Slice", x, zero, one, one)


def last_row(b: Builder, x: str) -> str:
    """Pick the last row of each, padding or not."""
    last, end = b.constant([-1], np.int64), b.constant([np.iinfo(np.int64).max], np.int64)
    return b.node("Slice", x, last, end, b.constant([1], np.int64))


def take_row(b: Builder, x: str, row: str) -> str:
    """Pick each text's own row, whose indices are int64 (batch,)."""
    index = b.node("Reshape", row, b.constant([-1, 1, 1], np.int64))
    return b.node("GatherND", x, index, batch_dims=1)
