"""What quantised weights and smaller vectors cost: nDCG@10 at every level, dimension and precision.

    python benchmarks/quality.py BASE EVAL.jsonl     BASE: a checkpoint with adapters/retrieval, 256 dimensions or more

EVAL.jsonl has lines {"type": "query" | "doc", "id", "text"} and {"type": "qrel", "query", "doc"}, one relevant document
a query. A table, then one JSON line.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import warnings
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_embed import Embedder
from edge_embed.vectors import quantize, search_binary, similarity
from edge_embed_convert import convert

LEVELS = ("float32", "float16", "int8", "int4")
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
    out = {str(d): ndcg(similarity(queries[:, :d], documents[:, :d]), relevant) for d in DIMS}
    bits = similarity(quantize(queries, "ubinary"), quantize(documents, "ubinary"), "hamming")
    return {**out, "binary": ndcg(bits, relevant), "rescored": rescored(queries, documents, relevant)}


def main() -> None:
    """Convert, embed at each level, print."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("base", type=Path)
    parser.add_argument("eval", type=Path)
    args = parser.parse_args()
    queries, documents, relevant = read(args.eval)
    warnings.simplefilter("ignore")
    rows: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as scratch:
        to = [f"onnx:{level}" for level in LEVELS]
        (folder,) = convert(args.base, Path(scratch), to, task="retrieval")
        exact: Vectors | None = None
        for level in LEVELS:
            with Embedder(f"{folder}:{level}") as model:
                vectors = model.encode_query(queries), model.encode_document(documents)
            both = np.concatenate(vectors)
            exact = both if exact is None else exact
            cosines = (both * exact).sum(axis=1)
            figures = {"mean_cosine": float(cosines.mean()), "least_cosine": float(cosines.min())}
            rows[level] = figures | views(*vectors, relevant)
    names = list(rows["float32"])
    print(f"| {args.base.name} | {' | '.join(names)} |\n|---|{'---|' * len(names)}")
    for level, row in rows.items():
        print(f"| {level} | {' | '.join(f'{value:.4f}' for value in row.values())} |")
    print(json.dumps({"base": args.base.name, "levels": rows}))


if __name__ == "__main__":
    main()
