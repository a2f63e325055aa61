"""nDCG@10 and recall of float32 search: bits, bits rescored by int8, int8, and words joined in, at every dimension.

    python -m benchmarks search.quality MODEL retrieval.jsonl --dims 256 128 64 32

The file has lines of `type` query, doc and qrel, one relevant document a query. With --held-out it is told instead what
the number of candidates below so many dimensions does: on two halves of the queries, of which one may choose and the
other score, and on this project's own code and documentation.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.quality.scores import Vectors, read
from benchmarks.report import Report, Table
from benchmarks.search.held_out import embedded
from edge_embed import Embedder, Index
from edge_embed.search import query
from edge_embed.search.coding import code
from edge_embed.search.filters import Filters
from edge_embed.search.store import Passage, Source
from edge_embed.vectors import hamming, normalize, quantize, similarity

TOP = 10
ENOUGH = (64, 128, 256, 512, 1024)
MOST_LOST = 0.01  # of nDCG@10: differences below are noise
Rows = NDArray[np.intp]


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("model", help="a reference")
    parser.add_argument("set", type=Path, help="a retrieval set")
    parser.add_argument("--task", help="one of the model's tasks")
    parser.add_argument("--dims", type=int, nargs="+", help="Matryoshka dimensions; default: the model's own")
    parser.add_argument("--held-out", action="store_true", help="choose the number of candidates anew")


def run(args: argparse.Namespace) -> Report:
    """Embed once; search in each way at each dimension."""
    if args.held_out:
        return candidates(args)
    texts, documents, relevant = read(args.set)
    table = Table("dims", "search", "nDCG@10", "recall@10 of float32")
    figures = {}
    with opened(args) as model:
        queries, stored = model.encode_query(texts), model.encode_document(documents)
        for dims in args.dims or [model.dim]:
            pair = normalize(queries[:, :dims]), normalize(stored[:, :dims])
            exact = top(similarity(*pair))
            for name, rows in ways(model, dims, texts, documents, *pair).items():
                figures[f"{dims} {name}"] = found = {"ndcg": ndcg(rows, relevant), "recall": recall(rows, exact)}
                table.add(str(dims), name, f"{found['ndcg']:.3f}", f"{found['recall']:.3f}")
    return Report([table], {"queries": len(texts), "documents": len(documents), "ways": figures})


def opened(args: argparse.Namespace) -> Embedder:
    """Open the model, which may be cut to the dimensions whether its folder says so or not."""
    return Embedder(args.model, task=args.task, spec={"matryoshka_dims": args.dims} if args.dims else None)


def candidates(args: argparse.Namespace) -> Report:
    """Search by bits, then int8, with other numbers of candidates; tell the fewest that lose little on each part."""
    table = Table("texts", "dims", "float32", *(f"{enough} bits" for enough in ENOUGH))
    figures: dict[str, dict[str, list[float]]] = {}
    needed = {}
    with opened(args) as model:
        for part, (_, documents, relevant), (queries, stored, _) in embedded(model, read(args.set)):
            worst = np.zeros(len(ENOUGH))
            for dims in args.dims or [model.dim]:
                pair = normalize(queries[:, :dims]), normalize(stored[:, :dims])
                exact = top(similarity(*pair))
                with indexed(model, dims, documents, pair[1]) as index:
                    found = [searched(index, pair[0], enough) for enough in ENOUGH]
                scores = [ndcg(rows, relevant) for rows in (exact, *found)]
                recalls = [recall(rows, exact) for rows in found]
                worst = np.maximum(worst, scores[0] - np.array(scores[1:]))
                cells = [f"{one:.3f}, {other:.3f}" for one, other in zip(scores[1:], recalls, strict=True)]
                table.add(part, str(dims), f"{scores[0]:.3f}", *cells)
                figures[f"{part} {dims}"] = {"ndcg": scores, "recall": recalls}
            needed[part] = next((n for n, lost in zip(ENOUGH, worst, strict=True) if lost <= MOST_LOST), None)
    told = ", ".join(f"{enough} on the {part}" for part, enough in needed.items())
    note = (
        f"nDCG@10 and recall@10 of float32; 100 candidates, and N / dims times as many below N dimensions; in force: "
        f"{query.ENOUGH}. The least N at which no dimension loses more than {MOST_LOST} of float32's nDCG@10: {told}."
    )
    return Report([table, note], {"needed": needed, "cases": figures})


def searched(index: Index, queries: Vectors, enough: int) -> Rows:
    """Return the rows (queries, TOP) that are found with so many candidates."""
    before, query.ENOUGH = query.ENOUGH, enough
    try:
        return np.array([search(index, vector, None) for vector in queries])
    finally:
        query.ENOUGH = before


def ways(
    model: Embedder, dims: int, texts: list[str], documents: list[str], queries: Vectors, stored: Vectors
) -> dict[str, Rows]:
    """Return the rows (queries, TOP) that each way finds."""
    packed = quantize(queries, "ubinary"), quantize(stored, "ubinary")
    with indexed(model, dims, documents, stored) as index:
        return {
            "float32": top(similarity(queries, stored)),
            "int8": top(similarity(queries, quantize(stored, "int8"), "cosine")),
            "bits": top(-hamming(*packed).astype(np.float32)),
            "bits, then int8": np.array([search(index, vector, None) for vector in queries]),
            "and words": np.array([search(index, *pair) for pair in zip(queries, texts, strict=True)]),
        }


@contextmanager
def indexed(model: Embedder, dims: int, documents: list[str], stored: Vectors) -> Iterator[Index]:
    """Make an index of documents that are embedded already."""
    with Index.open(":memory:", model, dims=dims) as index:
        for n, (text, one) in enumerate(zip(documents, code(stored), strict=True)):
            source = Source(kind="item", key=str(n).encode(), time=0.0)
            index._database.put([(source, [Passage(0, len(text), None, text)], [one])])
        yield index


def search(index: Index, vector: Vectors, text: str | None) -> list[int]:
    """Return the rows that are found by a vector, and by the words of a text if there is one."""
    asked = query.Query(vector=vector, text=text, top=TOP, filters=Filters(), least=-1.0)
    return [int(hit.id or 0) for hit in index._database.answer(asked)]


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
