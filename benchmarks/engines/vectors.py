"""Builds and searches an index of given vectors with one library, for search.peers.

    python -m benchmarks.engines.vectors PEER VECTORS.npy QUERIES.npy FOLDER THREADS

A request is null, which builds the index in FOLDER, or [query, effort], which searches what was built there for the ten
nearest. Each peer keeps to itself what it imports, so that peers may run in another environment.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

TOP = 10
CALL = 1000  # vectors that are added at a time


class EdgeEmbed:
    """This project's index, without words; the effort is how many hits are asked for: ten candidates each."""

    def __init__(self) -> None:
        self.package = importlib.import_module("edge_embed")
        self.package.Index  # is imported when it is first asked for  # noqa: B018

    def build(self, vectors: Any, place: Path, threads: int) -> None:
        from benchmarks.search.made import open_new
        from edge_embed.search.coding import code
        from edge_embed.search.store import Passage, Source

        database = open_new(place / "i.db", vectors.shape[1])
        for start, block in blocks(vectors):
            entries = [
                (Source(kind="item", key=str(n).encode(), time=0.0), [Passage(0, 0, None, "")], [coded])
                for n, coded in enumerate(code(block), start)
            ]
            database.put(entries)
            database.tidy()
        database.close()

    def open(self, place: Path, threads: int) -> None:
        self.index = self.package.Index.open(place / "i.db", create=False)

    def search(self, query: Any, effort: int) -> Any:
        return [hit.id for hit in self.index.search(query, top=effort, least=-1)]


class Faiss:
    """faiss: KIND is what index_factory takes, and the name of what the effort sets, if any."""

    def __init__(self, kind: str, effort: str = "") -> None:
        self.kind, self.effort = kind, effort
        self.package = importlib.import_module("faiss")

    def build(self, vectors: Any, place: Path, threads: int) -> None:
        package = self.package
        package.omp_set_num_threads(threads)
        dims = vectors.shape[1]
        if self.kind.startswith("B"):
            index, rows = package.index_binary_factory(dims, self.kind), np.packbits(vectors > 0, axis=1)
            index.add(rows)
            package.write_index_binary(index, str(place / "i"))
            return
        index = package.index_factory(dims, self.kind, package.METRIC_INNER_PRODUCT)
        rows = np.ascontiguousarray(vectors)
        index.train(rows)
        index.add(rows)
        package.write_index(index, str(place / "i"))

    def open(self, place: Path, threads: int) -> None:
        package = self.package
        package.omp_set_num_threads(threads)
        read = package.read_index_binary if self.kind.startswith("B") else package.read_index
        self.index = read(str(place / "i"))
        self.space = package.ParameterSpace()

    def search(self, query: Any, effort: int) -> Any:
        if self.kind.startswith("B"):
            return self.index.search(np.packbits(query > 0)[None], TOP)[1][0]
        if self.effort:
            self.space.set_index_parameter(self.index, self.effort, effort)
        return self.index.search(query[None], TOP)[1][0]


class Usearch:
    """usearch's graph of int8 codes, as it is by default; the effort is expansion_search."""

    def __init__(self) -> None:
        self.package = importlib.import_module("usearch.index")

    def build(self, vectors: Any, place: Path, threads: int) -> None:
        index = self.package.Index(ndim=vectors.shape[1], metric="cos", dtype="i8")
        index.add(np.arange(len(vectors)), np.ascontiguousarray(vectors), threads=threads)
        index.save(str(place / "i"))

    def open(self, place: Path, threads: int) -> None:
        self.index = self.package.Index.restore(str(place / "i"), view=True)

    def search(self, query: Any, effort: int) -> Any:
        self.index.expansion_search = effort
        return self.index.search(query, TOP).keys


class SqliteVec:
    """sqlite-vec's bits, then float32 of as many candidates as the effort says, as its guide has it."""

    def __init__(self) -> None:
        other = importlib.util.find_spec("pysqlite3")
        self.sqlite = importlib.import_module("pysqlite3" if other else "sqlite3")
        self.package = importlib.import_module("sqlite_vec")

    def connect(self, place: Path) -> Any:
        connection = self.sqlite.connect(place / "i.db")
        connection.enable_load_extension(True)
        self.package.load(connection)
        return connection

    def build(self, vectors: Any, place: Path, threads: int) -> None:
        connection, dims = self.connect(place), vectors.shape[1]
        connection.execute(f"CREATE VIRTUAL TABLE v USING vec0(own float[{dims}], coarse bit[{dims}])")
        for start, block in blocks(vectors):
            rows = ((n, row.tobytes(), row.tobytes()) for n, row in enumerate(block, start))
            connection.executemany("INSERT INTO v (rowid, own, coarse) VALUES (?, ?, vec_quantize_binary(?))", rows)
        connection.commit()
        connection.close()

    def open(self, place: Path, threads: int) -> None:
        self.connection = self.connect(place)

    def search(self, query: Any, effort: int) -> Any:
        near = "SELECT rowid, own FROM v WHERE coarse MATCH vec_quantize_binary(?) ORDER BY distance LIMIT ?"
        best = f"SELECT rowid FROM ({near}) ORDER BY vec_distance_cosine(own, ?) LIMIT {TOP}"
        return [n for (n,) in self.connection.execute(best, (query.tobytes(), effort, query.tobytes()))]


class LanceDb:
    """LanceDB's IVF_PQ, as it is by default; the effort is the refine_factor."""

    def __init__(self) -> None:
        self.package = importlib.import_module("lancedb")

    def build(self, vectors: Any, place: Path, threads: int) -> None:
        pyarrow = importlib.import_module("pyarrow")
        column = pyarrow.FixedSizeListArray.from_arrays(pyarrow.array(vectors.reshape(-1)), vectors.shape[1])
        rows = pyarrow.table({"id": np.arange(len(vectors)), "vector": column})
        table = self.package.connect(place).create_table("v", rows)
        kind = importlib.import_module("lancedb.index").IvfPq(distance_type="cosine")
        table.create_index("vector", config=kind)

    def open(self, place: Path, threads: int) -> None:
        self.table = self.package.connect(place).open_table("v")

    def search(self, query: Any, effort: int) -> Any:
        found = self.table.search(query).distance_type("cosine").refine_factor(effort).limit(TOP)
        return found.select(["id", "_distance"]).to_arrow()["id"].to_pylist()


PEERS: dict[str, Any] = {
    "edge_embed": EdgeEmbed,
    "faiss Flat": lambda: Faiss("Flat"),
    "faiss SQ8": lambda: Faiss("SQ8"),
    "faiss BFlat": lambda: Faiss("BFlat"),
    "faiss IVF1024,Flat": lambda: Faiss("IVF1024,Flat", "nprobe"),
    "faiss HNSW32": lambda: Faiss("HNSW32", "efSearch"),
    "usearch HNSW int8": Usearch,
    "sqlite-vec bit, float32": SqliteVec,
    "LanceDB IVF_PQ": LanceDb,
}


def blocks(vectors: Any) -> Iterator[tuple[int, Any]]:
    """Yield pieces of the vectors, and where each begins."""
    for start in range(0, len(vectors), CALL):
        yield start, np.ascontiguousarray(vectors[start : start + CALL])


def main() -> None:
    """Serve."""
    from benchmarks.worker import serve

    name, vectors, asked, folder, threads = sys.argv[1:]
    os.environ |= {"LANCE_CPU_THREADS": threads, "LANCE_LOG": "error"}
    peer, place, queries = PEERS[name](), Path(folder), np.load(asked)
    opened: list[None] = []

    def run(request: list[int] | None) -> Any:
        if request is None:
            return peer.build(np.load(vectors, mmap_mode="r"), place, int(threads))
        if not opened:
            opened.append(peer.open(place, int(threads)))
        return peer.search(queries[request[0]], request[1])

    def details(request: Any, found: Any) -> dict[str, Any]:
        size = sum(path.stat().st_size for path in place.rglob("*") if path.is_file())
        return {"bytes": size} if request is None else {"rows": [int(row) for row in found][:TOP]}

    serve(run, details=details)


if __name__ == "__main__":
    main()
