"""Weights -> MLX's affine quantisation: integers of some bits, with a scale and a bias for every group of a row.

MLX's own `quantize` takes scale and bias from a group's least and largest weight, and rounds both to the file's dtype
only afterwards: with bfloat16 its 8 bits have a cosine of 0.9994 on the trained miniatures. Here the integers are those
that fit the rounded scale and bias, 0.9999, and at few bits the best of several scales is taken.
"""

from __future__ import annotations

from dataclasses import dataclass

import ml_dtypes
import numpy as np
from numpy.typing import NDArray

from ..checkpoint.source import Array

SHARES = (1.0, 0.94, 0.88, 0.82)  # of a group's range: clipping its largest weights makes all the others finer
ROWS = 4096  # quantised at a time, which bounds memory on large tables


@dataclass(frozen=True)
class Quantised:
    """Packed integers uint32 (rows, size * bits / 32), scales and biases (rows, groups) that bfloat16 can hold."""

    packed: NDArray[np.uint32]
    scales: Array
    biases: Array


def quantise(weight: Array, bits: int, group_size: int) -> Quantised:
    """Quantise a weight (rows, size); size is a multiple of group_size."""
    parts = [_quantise(weight[start : start + ROWS], bits, group_size) for start in range(0, len(weight), ROWS)]
    return Quantised(*(np.concatenate(part) for part in zip(*parts, strict=True)))


def _quantise(weight: Array, bits: int, group_size: int) -> tuple[NDArray[np.uint32], Array, Array]:
    groups = weight.reshape(len(weight), -1, group_size)
    top = np.float32(2**bits - 1)
    low, high = groups.min(axis=2), groups.max(axis=2)
    best = np.full(low.shape, np.inf, np.float32)
    scales, biases, codes = np.ones_like(low), np.zeros_like(low), np.zeros(groups.shape, np.uint8)
    for share in SHARES if bits <= 6 else SHARES[:1]:
        scale, bias = (high - low) * (share / top), low * np.float32(share)
        for _ in range(2):  # with the range's scale, then with the one that fits its integers best
            scale, bias = _bfloat16(np.maximum(scale, 1e-12)), _bfloat16(bias)
            trial = np.clip(np.rint((groups - bias[..., None]) / scale[..., None]), 0, top)
            error = ((trial * scale[..., None] + bias[..., None] - groups) ** 2).sum(axis=2)
            better = error < best
            best[better], scales[better], biases[better] = error[better], scale[better], bias[better]
            codes[better] = trial[better].astype(np.uint8)
            scale, bias = _fit(groups, trial)
    return _pack(codes.reshape(weight.shape), bits), scales, biases


def _fit(groups: Array, codes: Array) -> tuple[Array, Array]:
    """Return the scale and bias of least squares from integers to weights."""
    centre, mean = codes.mean(axis=2), groups.mean(axis=2)
    spread = codes - centre[..., None]
    variance = (spread**2).sum(axis=2)
    scale = (spread * groups).sum(axis=2) / np.maximum(variance, 1e-12)
    return scale, mean - scale * centre


def _pack(codes: NDArray[np.uint8], bits: int) -> NDArray[np.uint32]:
    """Put the integers of a row into one stream of bits, lowest first, cut into words."""
    stream = np.unpackbits(codes[..., None], axis=-1, count=bits, bitorder="little").reshape(len(codes), -1)
    return np.packbits(stream, axis=-1, bitorder="little").view("<u4")


def _bfloat16(x: Array) -> Array:
    rounded: Array = x.astype(ml_dtypes.bfloat16).astype(np.float32)
    return rounded
