"""nDCG@10 and recall of float32 search: bits, bits rescored by int8, int8, and words joined in, at every dimension.

    python -m benchmarks search.quality MODEL retrieval.jsonl --dims 256 128 64 32

The file has lines of `type` query, doc and qrel, one relevant document a query.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.quality.scores import Vectors, read
from benchmarks.report import Report, Table
from edge_embed import Embedder, Index
from edge_embed.search.coding import code
from edge_embed.search.filters import Filters
from edge_embed.search.query import Query
from edge_embed.search.store import Passage, Source
from edge_embed.vectors import hamming, normalize, quantize, similarity

TOP = 10
Rows = NDArray[np.intp]


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("model", help="a reference")
    parser.add_argument("set", type=Path, help="a retrieval set")
    parser.add_argument("--task", help="one of the model's tasks")
    parser.add_argument("--dims", type=int, nargs="+", help="Matryoshka dimensions; default: the model's own")


def run(args: argparse.Namespace) -> Report:
    """Embed once; search in each way at each dimension."""
    texts, documents, relevant = read(args.set)
    table = Table("dims", "search", "nDCG@10", "recall@10 of float32")
    figures = {}
    spec = {"matryoshka_dims": args.dims} if args.dims else None  # whether its folder says so or not
    with Embedder(args.model, task=args.task, spec=spec) as model:
        queries, stored = model.encode_query(texts), model.encode_document(documents)
        for dims in args.dims or [model.dim]:
            pair = normalize(queries[:, :dims]), normalize(stored[:, :dims])
            exact = top(similarity(*pair))
            for name, rows in ways(model, dims, texts, documents, *pair).items():
                figures[f"{dims} {name}"] = found = {"ndcg": ndcg(rows, relevant), "recall": recall(rows, exact)}
                table.add(str(dims), name, f"{found['ndcg']:.3f}", f"{found['recall']:.3f}")
    return Report([table], {"queries": len(texts), "documents": len(documents), "ways": figures})


def ways(
    model: Embedder, dims: int, texts: list[str], documents: list[str], queries: Vectors, stored: Vectors
) -> dict[str, Rows]:
    """Return the rows (queries, TOP) that each way finds."""
    packed = quantize(queries, "ubinary"), quantize(stored, "ubinary")
    with Index.open(":memory:", model, dims=dims) as index:
        coded = code(stored)
        for n, (text, one) in enumerate(zip(documents, coded, strict=True)):
            source = Source(kind="item", key=str(n).encode(), time=0.0)
            index._database.put([(source, [Passage(0, len(text), None, text)], [one])])

        def search(vector: Vectors, text: str | None) -> list[int]:
            asked = Query(vector=vector, text=text, top=TOP, filters=Filters(), least=-1.0)
            return [int(hit.id or 0) for hit in index._database.answer(asked)]

        return {
            "float32": top(similarity(queries, stored)),
            "int8": top(similarity(queries, quantize(stored, "int8"), "cosine")),
            "bits": top(-hamming(*packed).astype(np.float32)),
            "bits, then int8": np.array([search(vector, None) for vector in queries]),
            "and words": np.array([search(*pair) for pair in zip(queries, texts, strict=True)]),
        }


def top(scores: Vectors) -> Rows:
    """Return the rows of the best scores, of equal ones the first."""
    return np.argsort(-scores, axis=1, kind="stable")[:, :TOP]


def ndcg(rows: Rows, relevant: NDArray[np.intp]) -> float:
    """Return nDCG@10 for one relevant document a query."""
    found = rows == relevant[:, None]
    return float((found / np.log2(2 + np.arange(rows.shape[1]))).sum(axis=1).mean())


def recall(rows: Rows, exact: Rows) -> float:
    """Return which share of the exact TOP is found."""
    return float(np.mean([len({*one} & {*other}) / TOP for one, other in zip(rows, exact, strict=True)]))
