"""Vectors <-> what an index keeps of them: int8 codes with a scale, and their signs as bits."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from edge_embed.vectors import columns, quantize


class Coded(NamedTuple):
    """A vector as rows of the tables take it; codes times scale has length one."""

    scale: float
    codes: bytes
    bits: bytes


def code(vectors: NDArray[np.float32]) -> list[Coded]:
    """Quantise vectors (n, dims) row by row."""
    codes = quantize(vectors, "int8")
    norms = np.linalg.norm(codes.astype(np.float32), axis=1)
    scales = np.divide(1, norms, out=np.zeros_like(norms), where=norms > 0)
    signs = quantize(vectors, "ubinary")
    return [
        Coded(float(scale), row.tobytes(), bits.tobytes())
        for scale, row, bits in zip(scales, codes, signs, strict=True)
    ]


def decode(rows: Sequence[tuple[float, bytes]], dims: int) -> NDArray[np.float32]:
    """Return unit vectors (n, dims) of (scale, codes); damaged rows are zeros, which nothing is near to."""
    whole = [codes if isinstance(codes, bytes) and len(codes) == dims else bytes(dims) for _, codes in rows]
    codes = np.frombuffer(b"".join(whole), np.int8).reshape(len(rows), dims).astype(np.float32)
    scales = np.array([scale if isinstance(scale, float) and 0 <= scale <= 1 else 0 for scale, _ in rows], np.float32)
    return codes * scales[:, None]


def words_of(vector: NDArray[np.float32]) -> NDArray[np.uint64]:
    """Return the signs of one vector (dims,) as 64-bit words."""
    return columns(quantize(vector[None], "ubinary"))[:, 0]
