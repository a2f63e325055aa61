"""What a quantisation level means for a linear layer and for an embedding table.

float32   as it is
float16   stored in half the bytes, computed in float32: the CPU kernels of float16 are slow or missing
int8      weights with one scale for each output channel, activations with one for each token
int4      weights in blocks of 32 along the input, each with a scale and a zero point; embedding table as int8
"""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import TensorProto

from edge_embed.errors import UnsupportedModelError

from .builder import MICROSOFT, Builder

LEVELS = ("float32", "float16", "int8", "int4")
BLOCK = 32
IN_CACHE = 1 << 16  # weights that are rounded at once: with threads 48 M a second, where whole matrices took 8 M
ACCURACY = 4  # MatMulNBits may round activations to 8 bits, block by block; 0 keeps float32
Array = NDArray[np.float32]


def linear(b: Builder, x: str, name: str, weight: Array) -> str:
    """Multiply x (..., in) by a checkpoint's weight (out, in) -> (..., out), without bias, as the level does it."""
    b.linears.append((name, x))
    if b.level == "int8":
        return _linear_int8(b, x, name, weight)
    if b.level == "int4":
        return _linear_int4(b, x, name, weight)
    if b.level == "float16":
        half = b.weight(name, _half(name, weight.T))
        return b.node("MatMul", x, b.node("Cast", half, to=TensorProto.FLOAT))
    return b.node("MatMul", x, b.weight(name, weight.T))


def linear_without_bias(
    b: Builder, read: Callable[..., NDArray[np.float32]], at: str, x: str, out: int, size: int
) -> str:
    """Add a linear layer (size -> out) that has no bias; `read` gives a tensor by its name and shape."""
    return linear(b, x, at, read(f"{at}.weight", out, size))


def linear_with_bias(b: Builder, read: Callable[..., NDArray[np.float32]], at: str, x: str, out: int, size: int) -> str:
    """Add a linear layer (size -> out) with its bias; `read` gives a tensor by its name and shape."""
    product = linear(b, x, at, read(f"{at}.weight", out, size))
    return b.node("Add", product, b.weight(f"{at}.bias", read(f"{at}.bias", out)))


def table(b: Builder, ids: str, name: str, table: Array) -> str:
    """Look up rows of an embedding table (vocabulary, dim) -> (..., dim), float32, stored as the level does it."""
    if b.level == "float32":
        return b.node("Gather", b.weight(name, table), ids)
    if b.level == "float16":
        return b.node("Cast", b.node("Gather", b.weight(name, _half(name, table)), ids), to=TensorProto.FLOAT)
    codes, scale = by_row(table)
    rows = b.node("Cast", b.node("Gather", b.weight(name, codes), ids), to=TensorProto.FLOAT)
    return b.node("Mul", rows, b.node("Gather", b.weight(f"{name}.scale", scale[:, None]), ids))


def by_row(weight: Array) -> tuple[NDArray[np.int8], Array]:
    """Round each row to -127..127 steps of its own -> codes, steps (rows,)."""
    codes, scale = np.empty(weight.shape, np.int8), np.empty(len(weight), np.float32)
    count = max(1, IN_CACHE // weight.shape[1])
    for start in range(0, len(weight), count):  # a table of 128,320 rows of 4,096 takes 2 GB, and each copy as much
        rows = slice(start, start + count)
        step = np.abs(weight[rows]).max(axis=1) / 127
        step[step == 0] = 1
        codes[rows], scale[rows] = np.rint(weight[rows] / step[:, None]), step
    return codes, scale


def _linear_int8(b: Builder, x: str, name: str, weight: Array) -> str:
    """Divide each token's row by its largest magnitude, quantise with one constant step, multiply in integers.

    No token's numbers depend on another's. This is several times faster than blocked QuantizeLinear, which has no
    vector code, and unsigned activations are several times faster than signed ones, which have no packed kernel.
    """
    return b.node("Mul", *_unit_product(b, x, name, weight))


def _unit_product(b: Builder, x: str, name: str, weight: Array) -> tuple[str, str]:
    """Return the product for rows whose largest magnitude is 1, and what each row was divided by for that."""
    codes, scale = by_row(weight)
    step, zero = b.constant(1 / 127, np.float32), b.constant(128, np.uint8)
    quantized, peak = b.cached(("rows", x), lambda: _quantize_rows(b, x))
    operands = (quantized, b.weight(name, codes.T), step, b.weight(f"{name}.scale", scale), zero)
    return b.node("MatMulIntegerToFloat", *operands, domain=MICROSOFT), peak


def gated(b: Builder, x: str, name: str, up: Array, active: str) -> str:
    """Multiply `active`, the activated gate, by the product of x and `up` (inner, in): what `down_proj` reads.

    At int8 the rows are quantised for `down_proj` before they are multiplied by what those of x were divided by, which
    only changes their largest magnitude: one pass less over the widest values that there are.
    """
    if b.level != "int8" or not b.fused:
        return b.node("Mul", active, linear(b, x, name, up))
    b.linears.append((name, x))
    unit, divided = _unit_product(b, x, name, up)
    rows = b.node("Mul", active, unit)
    quantized, peak = _quantize_rows(b, rows)
    b.cached(("rows", rows), lambda: (quantized, b.node("Mul", peak, divided)))
    return rows


def _quantize_rows(b: Builder, x: str) -> tuple[str, str]:
    """Return x as uint8 around 128, and each row's largest magnitude (..., 1).

    ONNX Runtime reads x twice for its ends sooner than it writes magnitudes and reads those. One QuantizeLinear with a
    step for each row would spare it the division, but runs in one thread, whatever it is given.
    """
    axis = b.constant([-1], np.int64)
    if b.fused:
        ends = b.node("ReduceMax", x, axis, keepdims=1), b.node("Neg", b.node("ReduceMin", x, axis, keepdims=1))
        largest = b.node("Max", *ends)
    else:
        largest = b.node("ReduceMax", b.node("Abs", x), axis, keepdims=1)
    peak = b.node("Max", largest, b.constant(1e-30, np.float32))
    step, zero = b.constant(1 / 127, np.float32), b.constant(128, np.uint8)
    return b.node("QuantizeLinear", b.node("Div", x, peak), step, zero), peak


def _linear_int4(b: Builder, x: str, name: str, weight: Array) -> str:
    """Store the weights in four bits; activations stay float32 outside the kernel."""
    codes, scale, zero = by_block(weight)
    out, blocks = scale.shape
    packed = codes[..., 0::2] | codes[..., 1::2] << 4  # (out, blocks, BLOCK / 2)
    zeros = np.concatenate([zero, np.zeros((out, blocks % 2), np.uint8)], axis=1)
    operands = (
        b.weight(name, packed),
        b.weight(f"{name}.scale", scale.reshape(-1)),
        b.weight(f"{name}.zero", (zeros[:, 0::2] | zeros[:, 1::2] << 4).reshape(-1)),
    )
    sizes: dict[str, Any] = {"K": weight.shape[1], "N": out, "bits": 4, "block_size": BLOCK}
    return b.node("MatMulNBits", x, *operands, domain=MICROSOFT, accuracy_level=ACCURACY, **sizes)


def by_block(weight: Array) -> tuple[NDArray[np.uint8], Array, NDArray[np.uint8]]:
    """Round blocks of a weight (out, in) to 0..15 -> codes (out, blocks, BLOCK), steps and zero points (out, blocks).

    Of several narrowings of each block's range the one with the least squared error is taken: clipping a few large
    weights a little makes all the others finer.
    """
    out, size = weight.shape
    blocks = -(-size // BLOCK)
    padded = np.zeros((out, blocks * BLOCK), np.float32)
    padded[:, :size] = weight
    values = padded.reshape(out, blocks, BLOCK)
    codes, zero = np.empty(values.shape, np.uint8), np.empty((out, blocks), np.uint8)
    scale = np.empty((out, blocks), np.float32)

    def round_rows(start: int) -> None:
        rows = slice(start, start + count)
        codes[rows], scale[rows], zero[rows] = _round_blocks(values[rows])

    count = max(1, IN_CACHE // (blocks * BLOCK))
    with ThreadPoolExecutor(os.cpu_count()) as pool:  # NumPy lets other threads run meanwhile
        list(pool.map(round_rows, range(0, out, count)))
    return codes, scale, zero


def _round_blocks(values: Array) -> tuple[NDArray[np.uint8], Array, NDArray[np.uint8]]:
    """Round few rows of blocks, (rows, blocks, BLOCK)."""
    low, high = np.minimum(values.min(axis=2), 0), np.maximum(values.max(axis=2), 0)
    best = np.full(low.shape, np.inf, np.float32)
    codes, scale, zero = np.zeros(values.shape, np.uint8), np.ones_like(best), np.zeros(low.shape, np.uint8)
    for share in (1.0, 0.95, 0.9, 0.85, 0.8):
        step = (high - low) * np.float32(share / 15)
        step[step == 0] = 1
        at = np.clip(np.rint(-low * np.float32(share) / step), 0, 15)
        exact = values / step[..., None]
        trial = np.rint(exact)
        np.maximum(trial, -at[..., None], out=trial)
        np.minimum(trial, (15 - at)[..., None], out=trial)
        np.subtract(exact, trial, out=exact)
        error = np.einsum("rbi,rbi->rb", exact, exact) * step**2
        better = error < best
        best[better], scale[better], zero[better] = error[better], step[better], at[better].astype(np.uint8)
        trial += at[..., None]
        codes[better] = trial[better].astype(np.uint8)
    return codes, scale, zero


def _half(name: str, weight: Array) -> NDArray[np.float16]:
    half = weight.astype(np.float16)
    if not np.isfinite(half).all():
        raise UnsupportedModelError(f"tensor {name!r} does not fit float16: choose another level")
    return half
