"""Retrieval scores of vectors: nDCG@10 at every dimension and precision, and the table of a model's levels."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.report import Report, Table
from edge_embed.vectors import quantize, search_binary, similarity

DIMS = (256, 128, 64, 32)
Vectors = NDArray[np.float32]


def read(path: Path) -> tuple[list[str], list[str], NDArray[np.intp]]:
    """Return queries, documents, and the row of each query's document."""
    rows = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
    queries = [row for row in rows if row["type"] == "query"]
    documents = [row for row in rows if row["type"] == "doc"]
    place = {row["id"]: n for n, row in enumerate(documents)}
    relevant = {row["query"]: place[row["doc"]] for row in rows if row["type"] == "qrel"}
    texts = [row["text"] for row in queries], [row["text"] for row in documents]
    return *texts, np.array([relevant[row["id"]] for row in queries])


def ndcg(scores: Vectors, relevant: NDArray[np.intp]) -> float:
    """Return nDCG@10 for one relevant document a query; equal scores share the mean of their ranks."""
    own = scores[np.arange(len(scores)), relevant][:, None]
    rank = 1 + (scores > own + 1e-6).sum(axis=1) + ((np.abs(scores - own) <= 1e-6).sum(axis=1) - 1) / 2
    return float(np.where(rank <= 10, 1 / np.log2(1 + rank), 0).mean())


def rescored(queries: Vectors, documents: Vectors, relevant: NDArray[np.intp]) -> float:
    """Return nDCG@10 of a search over bits, rescored with int8 documents."""
    codes = quantize(documents, "int8")
    _, rows = search_binary(queries, quantize(documents, "ubinary"), k=10, oversample=4, documents=codes)
    found = rows == relevant[:, None]
    return float((found / np.log2(2 + np.arange(rows.shape[1]))).sum(axis=1).mean())


def views(queries: Vectors, documents: Vectors, relevant: NDArray[np.intp]) -> dict[str, float]:
    """Score every dimension, then bits and rescored bits of the full one."""
    scores = {str(dim): ndcg(similarity(queries[:, :dim], documents[:, :dim]), relevant) for dim in DIMS}
    bits = similarity(quantize(queries, "ubinary"), quantize(documents, "ubinary"), "hamming")
    return {**scores, "binary": ndcg(bits, relevant), "rescored": rescored(queries, documents, relevant)}


def compare_levels(base: str, vectors: Mapping[str, tuple[Vectors, Vectors]], relevant: NDArray[np.intp]) -> Report:
    """Score each level's query and document vectors, and their cosines to those of the first level, float32."""
    exact = np.concatenate(next(iter(vectors.values())))
    rows = {}
    for level, (queries, documents) in vectors.items():
        cosines = (np.concatenate([queries, documents]) * exact).sum(axis=1)
        figures = {"mean_cosine": float(cosines.mean()), "least_cosine": float(cosines.min())}
        rows[level] = figures | views(queries, documents, relevant)
    table = Table(base, *rows["float32"])
    for level, row in rows.items():
        table.add(level, *(f"{value:.4f}" for value in row.values()))
    return Report([table], {"base": base, "levels": rows})
