"""What happens to vectors after pooling: truncate -> normalise -> quantise, and how two of them are compared.

Every function treats each row alone, so a vector never depends on its neighbours.
"""

from __future__ import annotations

from typing import Any, Literal, get_args, overload

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .errors import InputError, listing

Precision = Literal["float32", "int8", "uint8", "binary", "ubinary"]
Metric = Literal["cosine", "dot", "hamming"]
# The scalar type depends on `precision` at run time, so encoding methods leave it open; `quantize` states it.
Array = NDArray[Any]
Vector = np.ndarray[tuple[int], np.dtype[Any]]
Matrix = np.ndarray[tuple[int, int], np.dtype[Any]]
BLOCK = 1 << 14  # rows whose bits are counted at a time, so that counts stay in the processor's cache


def check_precision(precision: str) -> None:
    """Raise InputError unless the name is one of the five precisions.

    >>> check_precision("int8")
    """
    if precision not in get_args(Precision):
        raise InputError(f"unknown precision {precision!r}: choose from {listing(get_args(Precision))}")


def normalize(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """Scale rows (n, dim) to unit L2 length; a row of zeros stays zero.

    >>> normalize(np.array([[0, 4], [0, 0]], np.float32)).tolist()
    [[0.0, 1.0], [0.0, 0.0]]
    """
    norms = np.linalg.norm(vectors, axis=-1, keepdims=True)
    norms[norms == 0] = 1
    units: NDArray[np.float32] = vectors / norms
    return units


@overload
def quantize(
    vectors: ArrayLike, precision: Literal["float32"], *, ranges: ArrayLike | None = ...
) -> NDArray[np.float32]: ...
@overload
def quantize(
    vectors: ArrayLike, precision: Literal["int8", "binary"], *, ranges: ArrayLike | None = ...
) -> NDArray[np.int8]: ...
@overload
def quantize(
    vectors: ArrayLike, precision: Literal["uint8", "ubinary"], *, ranges: ArrayLike | None = ...
) -> NDArray[np.uint8]: ...
@overload
def quantize(vectors: ArrayLike, precision: Precision, *, ranges: ArrayLike | None = ...) -> Array: ...
def quantize(vectors: ArrayLike, precision: Precision, *, ranges: ArrayLike | None = None) -> Array:
    """Quantise float rows (n, dim) or one (dim,).

    `binary` and `ubinary` pack the signs, most significant bit first, into `(dim + 7) // 8` bytes; `binary` is that
    less 128. `int8` is round(127 v / max|v|) of each row, `uint8` the same plus 128: cosine does not see the scale.
    With `ranges` (2, dim), the lowest and highest value of each dimension, both are sentence-transformers' 255 steps.
    Raises InputError for input that is quantised already, and for ranges of another shape.

    >>> quantize([0.5, -0.25, 0.0, 1.0], "int8").tolist()
    [64, -32, 0, 127]
    >>> quantize([0.5, -0.25, 0.0, 1.0], "ubinary").tolist()
    [144]
    """
    check_precision(precision)
    values = np.asarray(vectors)
    if values.dtype.kind != "f":
        raise InputError(f"quantize takes float vectors, got {values.dtype}: they are quantised already")
    if precision == "float32":
        return values.astype(np.float32, copy=False)
    if precision == "ubinary":
        return np.packbits(values > 0, axis=-1)
    if precision == "binary":
        return (np.packbits(values > 0, axis=-1) ^ np.uint8(128)).view(np.int8)
    codes = _scaled(values) if ranges is None else _ranged(values, np.asarray(ranges, np.float32))
    return codes.astype(np.int8) if precision == "int8" else (codes + 128).astype(np.uint8)


def _scaled(values: Array) -> Array:
    peak = np.abs(values).max(axis=-1, keepdims=True, initial=0)
    return np.rint(values * (127 / np.where(peak > 0, peak, 1)))


def _ranged(values: Array, ranges: Array) -> Array:
    if ranges.shape != (2, values.shape[-1]):
        raise InputError(f"ranges has shape {ranges.shape}, expected (2, {values.shape[-1]})")
    low, high = ranges
    steps = (high - low) / 255
    steps[steps == 0] = 1
    codes: Array = np.clip(np.floor((values - low) / steps), 0, 255) - 128
    return codes


def unpack(packed: Array) -> NDArray[np.float32]:
    """Turn `binary` or `ubinary` rows (n, bytes) into rows of -1 and 1, float32 (n, 8 * bytes).

    >>> unpack(np.array([[144]], np.uint8)).tolist()
    [[1.0, -1.0, -1.0, 1.0, -1.0, -1.0, -1.0, -1.0]]
    """
    bits = np.unpackbits(_unsigned(packed), axis=-1)
    return bits.astype(np.float32) * 2 - 1


def columns(packed: Array) -> NDArray[np.uint64]:
    """Lay packed rows (n, bytes) out column by column -> uint64 (ceil(bytes / 8), n), as `hamming` reads them fastest.

    Rows whose bytes are no multiple of 8 are filled up with zeros.

    >>> columns(np.array([[1, 0], [255, 0]], np.uint8)).shape
    (1, 2)
    """
    rows = _unsigned(packed)
    if spare := -rows.shape[-1] % 8:
        rows = np.pad(rows, ((0, 0), (0, spare)))
    return np.ascontiguousarray(np.ascontiguousarray(rows).view("<u8").T)


def hamming(a: Array, b: Array) -> NDArray[np.int32]:
    """Count differing bits between packed rows a (n, bytes) and b (m, bytes) -> int32 (n, m).

    b may also be the `columns` of such rows, which takes half the time.

    >>> hamming(np.array([[144]], np.uint8), np.array([[144], [255]], np.uint8)).tolist()
    [[0, 6]]
    """
    codes = columns(a)
    laid_out = b.dtype == np.uint64
    if not laid_out:
        _unsigned(b[:0])  # the type is wrong where there are no rows, too
    widths = (len(codes), len(b)) if laid_out else (a.shape[-1], b.shape[-1])
    if widths[0] != widths[1]:
        unit = "columns" if laid_out else "bytes"
        raise InputError(f"packed widths differ: {widths[0]} and {widths[1]} {unit}")
    count = b.shape[1] if laid_out else len(b)
    out = np.zeros((len(a), count), np.int32)
    for start in range(0, count, BLOCK):
        block = b[:, start : start + BLOCK] if laid_out else columns(b[start : start + BLOCK])
        for row, code in zip(out[:, start : start + BLOCK], codes.T, strict=True):
            row[:] = differing(code, block)
    return out


def differing(code: NDArray[np.uint64], laid_out: NDArray[np.uint64]) -> NDArray[Any]:
    """Count the bits in which one row's words (w,) differ from `columns` (w, n) -> uint16 (n,), uint32 of long rows.

    >>> differing(np.array([3], np.uint64), np.array([[3, 2, 0]], np.uint64)).tolist()
    [0, 1, 2]
    """
    total: NDArray[np.uint32] = np.zeros(
        laid_out.shape[1], np.uint16 if 64 * len(code) <= np.iinfo(np.uint16).max else np.uint32
    )
    for start in range(0, len(total), BLOCK):
        part = total[start : start + BLOCK]
        for word, column in zip(code, laid_out, strict=True):
            part += np.bitwise_count(column[start : start + BLOCK] ^ word)
    return total


def _unsigned(packed: Array) -> NDArray[np.uint8]:
    """Undo the offset of `binary`, so that both packed forms read alike."""
    if packed.dtype == np.int8:
        return packed.view(np.uint8) ^ np.uint8(128)
    if packed.dtype != np.uint8:
        raise InputError(f"packed vectors are int8 (binary) or uint8 (ubinary), got {packed.dtype}")
    return packed


def similarity(a: ArrayLike, b: ArrayLike, metric: Metric | None = None) -> NDArray[np.float32]:
    """Compare rows a (n, dim) with b (m, dim) -> float32 (n, m); one vector (dim,) counts as one row.

    The default for float vectors is cosine. int8 and uint8 arrays may be scaled values or packed bits, so they need
    the metric named; `hamming` gives 1 - 2 * differing bits / bits, which is the cosine of the sign vectors.
    Raises InputError for rows of different lengths.

    >>> [round(score, 2) for score in similarity([3.0, 4.0], [[4.0, 3.0], [-3.0, -4.0]])[0].tolist()]
    [0.96, -1.0]
    """
    left, right, metric = _comparable(a, b, metric)
    if metric == "hamming":
        return _agreement(hamming(left, right), left)
    product: NDArray[np.float32] = left @ right.T
    return product


def similarity_pairwise(a: ArrayLike, b: ArrayLike, metric: Metric | None = None) -> NDArray[np.float32]:
    """Compare each row of a (n, dim) with the same row of b (n, dim) -> float32 (n,), as `similarity` does.

    Raises InputError for arrays of different shapes.

    >>> similarity_pairwise([[1.0, 0.0], [3.0, 4.0]], [[0.0, 1.0], [6.0, 8.0]]).tolist()
    [0.0, 1.0]
    """
    left, right, metric = _comparable(a, b, metric)
    if len(left) != len(right):
        raise InputError(f"numbers of rows differ: {len(left)} and {len(right)}; `similarity` compares all with all")
    if metric == "hamming":
        different = np.bitwise_count(_unsigned(left) ^ _unsigned(right)).sum(axis=-1, dtype=np.int32)
        return _agreement(different, left)
    products: NDArray[np.float32] = np.einsum("nd,nd->n", left, right)
    return products


def _comparable(a: ArrayLike, b: ArrayLike, metric: Metric | None) -> tuple[Array, Array, Metric]:
    """Return both as rows that the metric takes: packed for hamming, else float32, of unit length for cosine."""
    left, right = (np.atleast_2d(np.asarray(x)) for x in (a, b))
    if metric is None:
        if left.dtype.kind != "f" or right.dtype.kind != "f":
            raise InputError(
                f"{left.dtype} and {right.dtype} vectors may be scaled values or packed bits: "
                "name metric='cosine', 'dot' or 'hamming'"
            )
        metric = "cosine"
    if metric not in get_args(Metric):
        raise InputError(f"unknown metric {metric!r}: choose from {listing(get_args(Metric))}")
    if left.shape[-1] != right.shape[-1]:
        raise InputError(f"dimensions differ: {left.shape[-1]} and {right.shape[-1]}")
    if metric == "hamming":
        return left, right, metric
    left, right = _floats(left), _floats(right)
    return (normalize(left), normalize(right), metric) if metric == "cosine" else (left, right, metric)


def _agreement(different: NDArray[np.int32], packed: Array) -> NDArray[np.float32]:
    """Turn counts of differing bits into the cosine of the sign vectors."""
    signs: NDArray[np.float32] = 1 - different.astype(np.float32) / (4 * packed.shape[-1])
    return signs


def _floats(values: Array) -> NDArray[np.float32]:
    floats: NDArray[np.float32] = values.astype(np.float32)
    if values.dtype == np.uint8:
        floats -= 128
    return floats


def search_binary(
    queries: ArrayLike, packed: Array, *, k: int = 10, oversample: int = 4, documents: Array | None = None
) -> tuple[NDArray[np.float32], NDArray[np.intp]]:
    """Search packed documents by Hamming distance, then rescore `k * oversample` candidates -> scores, rows (n, k).

    `queries` are float (n, dim); `packed` is (m, dim / 8), or the `columns` of that. The score is the cosine of the
    float query with `documents` (m, dim), float or int8, where given, else with the signs in `packed` (Yamada et al.
    2021, arXiv 2106.00882).

    >>> documents = np.eye(8, dtype=np.float32) - 0.1
    >>> scores, rows = search_binary(documents[3], quantize(documents, "ubinary"), k=2, documents=documents)
    >>> int(rows[0, 0]), round(float(scores[0, 0]), 2)
    (3, 1.0)
    """
    rows = np.atleast_2d(np.asarray(queries, np.float32))
    if k < 1 or oversample < 1:
        raise InputError(f"k={k} and oversample={oversample} must be at least 1")
    count = packed.shape[1] if packed.dtype == np.uint64 else len(packed)
    k = min(k, count)
    distances = hamming(np.packbits(rows > 0, axis=-1), packed)
    scores, found = np.empty((len(rows), k), np.float32), np.empty((len(rows), k), np.intp)
    for n, query in enumerate(rows):
        near = nearest(distances[n], k * oversample)
        floats = unpack(_rows(packed, near))[:, : len(query)] if documents is None else _floats(documents[near])
        score = similarity(query, floats, "cosine")[0]
        best = np.argsort(-score, kind="stable")[:k]
        scores[n], found[n] = score[best], near[best]
    return scores, found


def nearest(distances: NDArray[Any], count: int) -> NDArray[np.intp]:
    """Return the rows of the `count` smallest whole numbers of (n,), in no order; of equal ones the first rows.

    >>> sorted(nearest(np.array([7, 2, 9, 2, 2]), 2).tolist())
    [1, 3]
    """
    if count >= len(distances):
        return np.arange(len(distances))
    bound = np.partition(distances, count)[count]  # many times as fast as argpartition
    below = np.flatnonzero(distances < bound)
    return np.concatenate([below, np.flatnonzero(distances == bound)[: count - len(below)]])


def _rows(packed: Array, rows: NDArray[np.intp]) -> Array:
    """Return packed rows, out of `columns` too."""
    if packed.dtype != np.uint64:
        return packed[rows]
    return np.ascontiguousarray(packed[:, rows].T).astype("<u8").view(np.uint8)
