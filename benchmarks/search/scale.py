"""What an index of many passages costs, embedding left out: time to write, size, time to open and to search, memory.

    python -m benchmarks search.scale --passages 10000 100000 --dims 384

Vectors are random around 1,000 centres, texts are words by Zipf's law. Opening and searching are measured in a fresh
process; peers that are installed (faiss, usearch, sqlite-vec) search the same vectors. Seconds are of the processor,
all threads together, since wall time says little where others work; `wall` is told where it is asked for.
"""

from __future__ import annotations

import argparse
import importlib
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.quality.scores import Vectors
from benchmarks.report import Report, Table, progress
from benchmarks.search.made import make_index, make_vectors
from edge_embed.vectors import quantize

QUERIES = 100
TOP = 10
# Opens an index and searches it: seconds to open and to find the first, then of each search, and the peak of memory.
READER = """
import json, sys, time
import numpy as np
from edge_embed import Index
from edge_embed.device.machine import resident_peak
queries, words, hybrid = np.load(sys.argv[2]), json.loads(sys.argv[3]), sys.argv[4] == "hybrid"
before = resident_peak()
clock = time.perf_counter if sys.argv[5] == "wall" else time.process_time
start = clock()
with Index.open(sys.argv[1], create=False) as index:
    from edge_embed.search.filters import Filters
    from edge_embed.search.query import Query
    def ask(n):
        text = words[n] if hybrid else None
        asked = Query(vector=queries[n], text=text, top=10, filters=Filters(), least=-1.0)
        return [int(hit.text.split()[0]) for hit in index._database.answer(asked)]
    rows, times = [ask(0)], [clock() - start]
    for n in range(1, len(queries)):
        start = clock()
        rows.append(ask(n))
        times.append(clock() - start)
print(json.dumps({"rows": rows, "times": times, "memory": resident_peak() - before}))
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("--passages", type=int, nargs="+", default=[10_000, 100_000], help="sizes")
    parser.add_argument("--dims", type=int, default=384, help="of a vector")
    parser.add_argument("--wall", action="store_true", help="wall time of searches, on a machine where nobody works")
    parser.add_argument("--peers", action="store_true", help="faiss, usearch and sqlite-vec too")


def run(args: argparse.Namespace) -> Report:
    """Write and search an index of each size."""
    table = Table("passages", "write, s", "size, MB", "derived, MB", "open and first, ms", "p50, ms", "p99, ms", "MB")
    peers = Table("passages", "search", "build, s", "a query, ms", "recall@10")
    figures: dict[str, Any] = {}
    for count in args.passages:
        vectors, queries = make_vectors(count, args.dims, QUERIES)
        exact = nearest(queries @ vectors.T)
        with tempfile.TemporaryDirectory() as folder:
            start = time.process_time()
            path, words = make_index(Path(folder) / "i.db", vectors, QUERIES)
            written = time.process_time() - start
            sizes = [place.stat().st_size / 1e6 for place in (path, Path(f"{path}-bits")) if place.exists()]
            for kind in ("meaning", "hybrid"):
                found = read(path, queries, words, kind, args.wall)
                first, *rest = (1000 * seconds for seconds in found["times"])
                p50, p99 = np.percentile(rest, [50, 99])
                cells = [f"{count:,}, {kind}", f"{written:.1f}", f"{sizes[0]:.0f}", f"{sum(sizes[1:]):.1f}"]
                table.add(*cells, f"{first:.0f}", f"{p50:.1f}", f"{p99:.1f}", f"{found['memory'] / 1e6:.0f}")
                figures[f"{count} {kind}"] = {"write": written, "sizes": sizes, "first": first, "p50": p50, "p99": p99}
                if kind == "meaning":
                    peers.add(f"{count:,}", "this index", "", f"{p50:.2f}", f"{recall(found['rows'], exact):.3f}")
                progress(*cells, first, p50, p99)
        if args.peers:
            for name, build, each, rows in others(vectors, queries):
                peers.add(f"{count:,}", name, f"{build:.2f}", f"{1000 * each:.2f}", f"{recall(rows, exact):.3f}")
    return Report([table, peers], figures)


def read(path: Path, queries: Vectors, words: list[str], kind: str, wall: bool) -> dict[str, Any]:
    """Search in a fresh process."""
    with tempfile.NamedTemporaryFile(suffix=".npy") as file:
        np.save(file, queries)
        file.flush()
        clock = "wall" if wall else "cpu"
        command = [sys.executable, "-c", READER, str(path), file.name, json.dumps(words), kind, clock]
        found: dict[str, Any] = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
        return found


def others(vectors: Vectors, queries: Vectors) -> Iterator[tuple[str, float, float, Any]]:
    """Yield name, seconds to build, seconds a query, rows of each peer that is installed."""
    for name, build in {"faiss": faiss, "usearch": usearch, "sqlite_vec": sqlite_vec}.items():
        try:
            package = importlib.import_module(name)
        except ImportError:
            progress(name, "is not installed")
            continue
        for label, make in build(package, vectors):
            start = time.process_time()
            try:
                search = make()
            except AttributeError as error:  # a Python whose sqlite3 loads no extensions
                progress(label, error)
                continue
            built, start = time.process_time() - start, time.process_time()
            rows = [search(query) for query in queries]
            yield label, built, (time.process_time() - start) / len(queries), rows


Search = Callable[[Vectors], Any]
Makers = list[tuple[str, Callable[[], Search]]]


def faiss(package: Any, vectors: Vectors) -> Makers:
    """Bits and float32, all compared."""
    packed = quantize(vectors, "ubinary")

    def bits() -> Search:
        index = package.IndexBinaryFlat(vectors.shape[1])
        index.add(packed)
        return lambda query: index.search(quantize(query[None], "ubinary"), TOP)[1][0]

    def floats() -> Search:
        index = package.IndexFlatIP(vectors.shape[1])
        index.add(vectors)
        return lambda query: index.search(query[None], TOP)[1][0]

    return [("faiss BinaryFlat", bits), ("faiss FlatIP float32", floats)]


def usearch(package: Any, vectors: Vectors) -> Makers:
    """HNSW of int8."""
    index_module = importlib.import_module("usearch.index")

    def graph() -> Search:
        index = index_module.Index(ndim=vectors.shape[1], metric="cos", dtype="i8")
        index.add(np.arange(len(vectors)), vectors)
        return lambda query: index.search(query, TOP).keys

    return [("usearch HNSW int8", graph)]


def sqlite_vec(package: Any, vectors: Vectors) -> Makers:
    """Bits in a table of SQLite's, all compared."""
    import sqlite3

    def bits() -> Search:
        connection = sqlite3.connect(":memory:")
        connection.enable_load_extension(True)
        package.load(connection)
        connection.execute(f"CREATE VIRTUAL TABLE v USING vec0(bits bit[{vectors.shape[1]}])")
        rows = ((n, row.tobytes()) for n, row in enumerate(quantize(vectors, "ubinary")))
        connection.executemany("INSERT INTO v (rowid, bits) VALUES (?, vec_bit(?))", rows)
        query = "SELECT rowid FROM v WHERE bits MATCH vec_bit(?) ORDER BY distance LIMIT 10"
        return lambda one: [n for (n,) in connection.execute(query, (quantize(one, "ubinary").tobytes(),))]

    return [("sqlite-vec bit", bits)]


def nearest(scores: Vectors) -> NDArray[np.intp]:
    """Return the TOP best rows of each query."""
    return np.argsort(-scores, axis=1)[:, :TOP]


def recall(rows: Any, exact: NDArray[np.intp]) -> float:
    """Return which share of the exact TOP is found."""
    return float(
        np.mean([len({*map(int, one)} & {*other.tolist()}) / TOP for one, other in zip(rows, exact, strict=True)])
    )
