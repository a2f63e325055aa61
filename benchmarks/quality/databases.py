"""What Qdrant finds of the ten nearest by float32, by the kind of vectors that it is given and how it keeps them.

    python -m benchmarks quality.databases [--documents 1500]

Its own engine runs in this process (pip install --no-deps qdrant-edge-py); the model is all-MiniLM-L6-v2, float32.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from benchmarks.inputs import minilm, texts
from benchmarks.report import Report, Table, progress
from edge_embed import Embedder
from edge_embed.vectors import quantize

NEAREST = 10


class Way(NamedTuple):
    """Vectors of documents and queries, how they are compared and kept, and how many times ten are looked at again."""

    name: str
    documents: NDArray[Any]
    queries: NDArray[Any]
    distance: Any
    kept: dict[str, Any]
    oversampling: float = 1


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("--documents", type=int, default=1500, help="how many texts are searched")
    parser.add_argument("--queries", type=int, default=200, help="how many others are searched for")


def run(args: argparse.Namespace) -> Report:
    """Embed once, and search in each way."""
    with Embedder(f"{minilm()}:float32") as model:
        distinct = [*dict.fromkeys(texts(2 * (args.documents + args.queries), longest=200))]
        vectors = model.encode(distinct[: args.documents + args.queries])
    queries, documents = vectors[: args.queries], vectors[args.queries :]
    nearest = np.argsort(-(queries @ documents.T), axis=1)[:, :NEAREST]
    table, found = Table("given", "found"), {}
    for way in ways(documents, queries):
        rows = search(way)
        hits = sum(len({*row} & {*right}) for row, right in zip(rows, nearest.tolist(), strict=True))
        found[way.name] = hits / nearest.size
        progress(way.name, f"{found[way.name]:.3f}")
        table.add(way.name, f"{found[way.name]:.3f}")
    return Report([table], found)


def ways(documents: NDArray[np.float32], queries: NDArray[np.float32]) -> Iterator[Way]:
    """Name the ways: kinds that Qdrant makes of floats, then ours."""
    import qdrant_edge as qdrant

    dot, cosine, euclid = qdrant.Distance.Dot, qdrant.Distance.Cosine, qdrant.Distance.Euclid
    binary = {"quantization_config": qdrant.BinaryQuantizationConfig()}
    byte = {"datatype": qdrant.VectorStorageDatatype.Uint8}
    ranges = np.stack([documents.min(axis=0), documents.max(axis=0)])
    alone = quantize(documents, "uint8"), quantize(queries, "uint8")
    ranged = quantize(documents, "uint8", ranges=ranges), quantize(queries, "uint8", ranges=ranges)
    yield Way("float32", documents, queries, dot, {})
    yield Way("float32, BinaryQuantization", documents, queries, dot, binary)
    yield Way("float32, BinaryQuantization, oversampling=4", documents, queries, dot, binary, 4)
    yield Way('precision="uint8", Datatype.UINT8, cosine', *alone, cosine, byte)
    yield Way("quantize(..., ranges=...), Datatype.UINT8, cosine", *ranged, cosine, byte)
    yield Way("quantize(..., ranges=...), Datatype.UINT8, Euclid", *ranged, euclid, byte)


def search(way: Way) -> list[list[int]]:
    """Return the rows of documents that are found for each query."""
    import qdrant_edge as qdrant

    points = [qdrant.Point(number, row) for number, row in enumerate(way.documents.astype(float).tolist())]
    again = qdrant.QuantizationSearchParams(rescore=True, oversampling=way.oversampling)
    params = qdrant.SearchParams(exact="quantization_config" not in way.kept, quantization=again)
    with tempfile.TemporaryDirectory() as folder:
        kept = qdrant.EdgeVectorParams(size=way.documents.shape[1], distance=way.distance, **way.kept)
        shard = qdrant.EdgeShard.create(folder, qdrant.EdgeConfig(vectors=kept))
        shard.update(qdrant.UpdateOperation.upsert_points(points))
        shard.optimize()
        requests = (
            qdrant.QueryRequest(limit=NEAREST, query=qdrant.Query.Nearest(row), params=params)
            for row in way.queries.astype(float).tolist()
        )
        return [[point.id for point in shard.query(request)] for request in requests]
