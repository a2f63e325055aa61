"""Truncate, normalise, quantise, compare: each against numbers worked out by hand or sentence-transformers' own."""

from __future__ import annotations

import doctest

import numpy as np
import pytest
from numpy.typing import NDArray
from sentence_transformers.util import pairwise_cos_sim, quantize_embeddings

from edge_embed import InputError, vectors
from edge_embed.pipeline.pooling import pool
from edge_embed.vectors import (
    columns,
    hamming,
    nearest,
    normalize,
    quantize,
    search_binary,
    similarity,
    similarity_pairwise,
    unpack,
)

ROWS = np.array([[1, -2, 0, 4], [0, 0, 0, 0], [-3, 3, 1.5, -1.5]], np.float32)


def unit(count: int, dim: int = 256) -> NDArray[np.float32]:
    return normalize(np.random.default_rng(count).standard_normal((count, dim), np.float32))


def test_pooling() -> None:
    assert pool(ROWS, "last").tolist() == [-3, 3, 1.5, -1.5]
    assert pool(ROWS, "first").tolist() == [1, -2, 0, 4]
    np.testing.assert_allclose(pool(ROWS, "mean"), [-2 / 3, 1 / 3, 0.5, 2.5 / 3], rtol=1e-6)
    assert pool(ROWS, "mean").dtype == np.float32


def test_normalize_keeps_zero_rows() -> None:
    np.testing.assert_allclose(normalize(ROWS)[0], np.array([1, -2, 0, 4]) / np.sqrt(21), rtol=1e-6)
    assert normalize(ROWS)[1].tolist() == [0, 0, 0, 0]


def test_bits_are_packed_as_sentence_transformers_packs_them() -> None:
    rows = unit(40, 100)
    rows[0, :5] = 0
    for precision in ("binary", "ubinary"):
        expected = quantize_embeddings(rows, precision)  # type: ignore[arg-type]
        got = quantize(rows, precision)  # type: ignore[arg-type]
        assert got.dtype == expected.dtype
        assert (got == expected).all()
    assert quantize(np.array([[0.5, -1, 2, 0, 0, 0, 0, 1e-9, 3]]), "ubinary").tolist() == [[0b10100001, 0b10000000]]
    assert quantize(np.array([0.5] * 8), "binary").tolist() == [127]


def test_ranges_follow_sentence_transformers() -> None:
    rows, calibration = unit(50, 32), unit(200, 32)
    ranges = np.stack([calibration.min(axis=0), calibration.max(axis=0)])
    ranges[:, 3] = 0.1  # a dimension that never changes
    for precision in ("int8", "uint8"):
        expected = quantize_embeddings(rows, precision, ranges=ranges)  # type: ignore[arg-type]
        assert np.abs(quantize(rows, precision, ranges=ranges).astype(int) - expected.astype(int)).max() <= 1  # type: ignore[arg-type]
    with pytest.raises(InputError, match=r"ranges has shape \(2, 8\), expected \(2, 32\)"):
        quantize(rows, "int8", ranges=ranges[:, :8])


def test_int8_is_scaled_by_each_row_alone() -> None:
    codes = quantize(ROWS, "int8")
    assert codes.tolist() == [[32, -64, 0, 127], [0, 0, 0, 0], [-127, 127, 64, -64]]
    assert codes.dtype == np.int8
    assert quantize(ROWS, "uint8").tolist()[0] == [160, 64, 128, 255]
    assert quantize(ROWS[0], "int8").tolist() == codes[0].tolist()
    rows = unit(300)
    assert np.diag(similarity(rows, quantize(rows, "int8"), "cosine")).min() > 0.9999


def test_empty_input_keeps_width_and_dtype() -> None:
    empty = np.empty((0, 20), np.float32)
    shapes = {p: quantize(empty, p).shape for p in ("float32", "int8", "uint8", "binary", "ubinary")}  # type: ignore[arg-type]
    assert shapes == {"float32": (0, 20), "int8": (0, 20), "uint8": (0, 20), "binary": (0, 3), "ubinary": (0, 3)}


def test_quantising_twice_is_refused() -> None:
    with pytest.raises(InputError, match="got int8: they are quantised already"):
        quantize(np.zeros((2, 8), np.int8), "binary")
    with pytest.raises(InputError, match="unknown precision 'int4': choose from 'binary', 'float32'"):
        quantize(ROWS, "int4")  # type: ignore[arg-type]


def test_similarity() -> None:
    a, b = np.array([3.0, 4.0]), np.array([[4.0, 3.0], [-3.0, -4.0]])
    np.testing.assert_allclose(similarity(a, b), [[0.96, -1]], rtol=1e-6)
    np.testing.assert_allclose(similarity(a, b, "dot"), [[24, -25]])
    with pytest.raises(InputError, match="dimensions differ: 2 and 3"):
        similarity(a, np.ones((1, 3)))
    with pytest.raises(InputError, match="unknown metric 'l2'"):
        similarity(a, b, "l2")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="name metric="):
        similarity(quantize(b, "int8"), quantize(b, "int8"))


def test_pairwise_is_the_diagonal() -> None:
    a, b = unit(9), unit(9, 256)[::-1]
    theirs = pairwise_cos_sim(a, b.copy()).numpy()
    np.testing.assert_allclose(similarity_pairwise(3 * a, b), theirs, atol=1e-6)
    np.testing.assert_allclose(similarity_pairwise(3 * a, b, "dot"), 3 * theirs, atol=1e-5)
    packed = quantize(a, "binary"), quantize(b, "ubinary")
    np.testing.assert_allclose(similarity_pairwise(*packed, "hamming"), np.diag(similarity(*packed, "hamming")))
    codes = quantize(a, "int8"), quantize(b, "uint8")
    np.testing.assert_allclose(similarity_pairwise(*codes, "cosine"), np.diag(similarity(*codes, "cosine")), atol=1e-6)
    assert similarity_pairwise(a[0], b[0]).shape == (1,)
    with pytest.raises(InputError, match="numbers of rows differ: 9 and 8"):
        similarity_pairwise(a, b[:8])
    with pytest.raises(InputError, match="name metric="):
        similarity_pairwise(*codes)


def test_hamming_is_the_cosine_of_signs() -> None:
    rows, others = unit(7), unit(5)
    signs = np.sign(rows) @ np.sign(others).T / 256
    for precision in ("binary", "ubinary"):
        packed = [quantize(x, precision) for x in (rows, others)]  # type: ignore[arg-type]
        np.testing.assert_allclose(similarity(*packed, "hamming"), signs, atol=1e-6)
        assert (unpack(packed[0]) == np.sign(rows)).all()
    mixed = hamming(quantize(rows, "binary"), quantize(others, "ubinary"))
    assert (mixed == (256 - np.rint(signs * 256)) / 2).all()


def test_rescoring_brings_back_what_bits_lose() -> None:
    documents = unit(2000)
    noise = np.random.default_rng(1).standard_normal((50, 256), np.float32)
    queries = normalize(documents[:50] + 0.05 * noise)
    truth = np.argsort(-similarity(queries, documents), axis=1)[:, :10]
    packed, codes = quantize(documents, "ubinary"), quantize(documents, "int8")

    def recall(found: NDArray[np.intp]) -> float:
        return float(np.mean([len({*a} & {*b}) / 10 for a, b in zip(found, truth, strict=True)]))

    bits = recall(np.argsort(hamming(quantize(queries, "ubinary"), packed), axis=1, kind="stable")[:, :10])
    plain = recall(search_binary(queries, packed, k=10)[1])
    scores, rows = search_binary(queries, packed, k=10, documents=codes, oversample=8)
    assert bits < plain < recall(rows)
    assert (rows[:, 0] == np.arange(50)).all()
    assert (np.diff(scores, axis=1) <= 0).all()
    np.testing.assert_allclose(scores[0], similarity(queries[0], codes[rows[0]], "cosine")[0], rtol=1e-5)


def test_searching_few_or_no_documents() -> None:
    scores, rows = search_binary(unit(3), quantize(unit(4), "binary"), k=10)
    assert scores.shape == rows.shape == (3, 4)
    assert search_binary(unit(3), np.empty((0, 32), np.uint8))[1].shape == (3, 0)
    with pytest.raises(InputError, match="k=0"):
        search_binary(unit(3), np.empty((0, 32), np.uint8), k=0)


def test_columns_count_as_rows_do() -> None:
    for dim in (8, 60, 64, 384, 1000):
        rows, others = unit(3, dim), unit(200, dim)
        for precision in ("binary", "ubinary"):
            packed, other = (quantize(x, precision) for x in (rows, others))  # type: ignore[call-overload]
            assert (hamming(packed, columns(other)) == hamming(packed, other)).all()
        found = [search_binary(rows, form, k=7) for form in (other, columns(other))] if precision == "ubinary" else []
        np.testing.assert_array_equal(found[0][1], found[1][1])
        np.testing.assert_allclose(found[0][0], found[1][0], rtol=1e-6)
    with pytest.raises(InputError, match="packed widths differ: 1 and 6 columns"):
        hamming(np.zeros((1, 8), np.uint8), columns(np.zeros((3, 48), np.uint8)))
    with pytest.raises(InputError, match="got float32"):
        hamming(np.zeros((1, 8), np.uint8), np.zeros((0, 8), np.float32))


def test_rows_of_more_bits_than_16_bits_count() -> None:
    ones = np.full((1, 9000), 255, np.uint8)
    assert hamming(ones, np.zeros((2, 9000), np.uint8)).tolist() == [[72000, 72000]]


def test_many_rows_are_counted_block_by_block() -> None:
    packed = np.random.default_rng(0).integers(0, 256, (40_000, 16), np.uint8)
    expected = np.bitwise_count(packed[7] ^ packed).sum(axis=1)
    assert (hamming(packed[7:8], packed)[0] == expected).all()
    assert (hamming(packed[7:8], columns(packed))[0] == expected).all()


def test_nearest_keeps_the_first_of_equal_ones() -> None:
    distances = np.random.default_rng(1).integers(0, 9, 1000)
    for count in (0, 1, 100, 999, 1000, 5000):
        expected = np.argsort(distances, kind="stable")[:count]
        assert sorted(nearest(distances, count)) == sorted(expected)


def test_the_examples() -> None:
    failed, tried = doctest.testmod(vectors)
    assert not failed
    assert tried
