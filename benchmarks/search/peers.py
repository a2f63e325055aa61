"""What an index finds of the exact ten nearest, and in which time: this project's and other libraries', same vectors.

    python -m benchmarks search.peers --passages 100000 --peer-python peer/bin/python

Each builds its index with all threads; searches one query at a time in a fresh process with one thread and with all.
What each may look at is set by its own knob, in several steps; else its own defaults hold. A peer that is not installed
is told and left out: faiss-cpu, usearch, sqlite-vec (with pysqlite3-binary where Python's own SQLite loads no
extensions), lancedb.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.report import Report, Table, progress
from benchmarks.search.exact import Exact
from benchmarks.search.made import make_queries, make_vectors
from benchmarks.search.scale import percentile
from benchmarks.worker import Worker

QUERIES = 100
EFFORTS: dict[str, tuple[str, list[int]]] = {
    "edge_embed": ("{0}0 candidates", [10, 20, 40]),
    "faiss Flat": ("", [0]),
    "faiss SQ8": ("", [0]),
    "faiss BFlat": ("", [0]),
    "faiss IVF1024,Flat": ("nprobe {0}", [1, 8, 32]),
    "faiss HNSW32": ("efSearch {0}", [16, 64, 256]),
    "usearch HNSW int8": ("expansion {0}", [64, 256]),
    "sqlite-vec bit, float32": ("{0} candidates", [100, 400]),
    "LanceDB IVF_PQ": ("refine {0}", [1, 10, 50]),
}


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("--passages", type=int, default=100_000, help="how many vectors")
    parser.add_argument("--dims", type=int, default=384, help="of a vector")
    parser.add_argument("--only", nargs="+", choices=EFFORTS, default=list(EFFORTS), help="some of them")
    parser.add_argument("--peer-python", default=sys.executable, help="interpreter that has the peers installed")


def run(args: argparse.Namespace) -> Report:
    """Build and search with each."""
    built = Table("index", "building, s", "of the processor, s", "MB", "open and first, ms")
    threads = sorted({1, os.cpu_count() or 1})
    searched = Table("index", "effort", "recall@10", *(f"a query, ms, threads: {count}" for count in threads))
    figures: dict[str, Any] = {}
    absent: list[str] = []
    with tempfile.TemporaryDirectory() as folder:
        stored, asked = Path(folder) / "vectors.npy", Path(folder) / "queries.npy"
        exact = write_vectors(stored, asked, args.passages, args.dims)
        for name in args.only:
            place = Path(folder) / name
            place.mkdir()
            python = sys.executable if name == "edge_embed" else args.peer_python
            try:
                with Worker("vectors", name, stored, asked, place, threads[-1], python=python) as worker:
                    made = worker.ask(None)
                found = {count: search(name, stored, asked, place, count, python) for count in threads}
            except RuntimeError:
                absent.append(name)
                continue
            first = 1000 * found[threads[-1]][0]
            size = made.details["bytes"] / 1e6
            built.add(name, f"{made.seconds.wall:.1f}", f"{made.seconds.cpu:.1f}", f"{size:.0f}", f"{first:.0f}")
            figures[name] = {"build": made.seconds.wall, "cpu": made.seconds.cpu, "mb": size, "first": first}
            unit, efforts = EFFORTS[name]
            for effort in efforts:
                times = [found[count][1][effort][0] for count in threads]
                recall = exact.recall(found[1][1][effort][1])
                searched.add(name, unit.format(effort), f"{recall:.3f}", *(f"{time:.2f}" for time in times))
                figures[f"{name} {effort}"] = {"recall": recall, "ms": times}
                progress(name, made.seconds, unit.format(effort), recall, *times)
    missing = f"Could not run, for the reason above: {', '.join(absent)}." if absent else "All could run."
    return Report([built, searched, missing], figures)


def write_vectors(stored: Path, asked: Path, count: int, dims: int) -> Exact:
    """Write the vectors and queries -> what is exact."""
    mapped = np.lib.format.open_memmap(stored, "w+", np.float32, (count, dims))
    done = 0
    for block in make_vectors(count, dims):
        mapped[done : done + len(block)] = block
        done += len(block)
    mapped.flush()
    queries = make_queries(QUERIES, mapped[: min(count, 10_000)])
    np.save(asked, queries)
    exact = Exact(queries)
    for _ in exact.watch(mapped[start : start + 10_000] for start in range(0, count, 10_000)):
        pass
    return exact


Found = tuple[float, dict[int, tuple[float, list[list[int]]]]]


def search(name: str, stored: Path, asked: Path, place: Path, threads: int, python: str) -> Found:
    """Search in a fresh process -> seconds to open and find the first, then median milliseconds and rows by effort."""
    os.environ["OMP_NUM_THREADS"] = str(threads)
    efforts = EFFORTS[name][1]
    with Worker("vectors", name, stored, asked, place, threads, python=python) as worker:
        first = worker.ask([0, efforts[0]]).seconds.wall
        found = {}
        for effort in efforts:
            answers = [worker.ask([n, effort]) for n in range(QUERIES)]
            median = percentile([1000 * one.seconds.wall for one in answers], 50)
            found[effort] = (median, [one.details["rows"] for one in answers])
    return first, found
