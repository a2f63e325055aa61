"""What an index of many passages costs, embedding left out: writing, size, opening, searching warm and cold, memory.

    python -m benchmarks search.scale --passages 10000 100000 1000000

Vectors are random around 1,000 centres, texts are words by Zipf's law, and so are the words of queries, most of which
many passages have. Each way of searching is a fresh process; before a cold one the system is told to forget the
index's files. Both clocks are told: of a cold search wall time counts, on a machine where others work the processor's.
"""

from __future__ import annotations

import argparse
import itertools
import os
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.report import Report, Table, progress
from benchmarks.search.exact import Exact
from benchmarks.search.made import make_index, make_queries, make_texts, make_vectors
from benchmarks.worker import Worker

QUERIES, WORDS = 100, 4
WAYS = ("meaning", "words")


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("--passages", type=int, nargs="+", default=[10_000, 100_000], help="sizes")
    parser.add_argument("--dims", type=int, default=384, help="of a vector")


def run(args: argparse.Namespace) -> Report:
    """Write and search an index of each size."""
    written = Table("passages", "writing, s", "of the processor, s", "MB", "derived file, MB")
    clocks = ("p50, ms", "p99, ms", "of the processor: p50, ms", "p99, ms")
    searched = Table("passages", "search", "open and first, ms", *clocks, "resident, MB", "recall@10 of float32")
    figures: dict[str, Any] = {}
    texts = make_texts(np.random.default_rng(3), QUERIES, WORDS)
    for count in args.passages:
        with tempfile.TemporaryDirectory() as folder:
            path, asked = Path(folder) / "i.db", Path(folder) / "queries.npz"
            blocks = make_vectors(count, args.dims)
            queries = make_queries(QUERIES, first := next(blocks))
            exact = Exact(queries)
            seconds = make_index(path, exact.watch(itertools.chain([first], blocks)), args.dims)
            np.savez(asked, vectors=queries, texts=np.array(texts))
            sizes = [place.stat().st_size / 1e6 if place.exists() else 0 for place in (path, Path(f"{path}-bits"))]
            written.add(f"{count:,}", *(f"{one:.1f}" for one in (seconds.wall, seconds.cpu, *sizes)))
            figures[f"{count} writing"] = {"wall": seconds.wall, "cpu": seconds.cpu, "mb": sizes}
            for way, cold in itertools.product(WAYS, (False, True)):
                if cold:
                    forget(path.parent)
                found, rows = search(path, asked, way)
                name = f"{way}{', cold' * cold}"
                cells = [f"{one:.1f}" for one in found.values()]
                cells.append(f"{exact.recall(rows):.3f}" if way == "meaning" else "")
                searched.add(f"{count:,}", name, *cells)
                figures[f"{count} {name}"] = found
                progress(count, name, *cells)
    return Report([written, searched], figures)


def search(path: Path, asked: Path, way: str) -> tuple[dict[str, float], list[list[int]]]:
    """Search in a fresh process -> milliseconds and resident megabytes, and the rows of each query."""
    with Worker("search", path, asked, way) as worker:
        answers = [worker.ask(n) for n in range(QUERIES)]
    first, *others = (1000 * one.seconds.wall for one in answers)
    processor = [1000 * one.seconds.cpu for one in answers[1:]]
    figures = {"first": first, "p50": percentile(others, 50), "p99": percentile(others, 99)}
    figures |= {"cpu p50": percentile(processor, 50), "cpu p99": percentile(processor, 99)}
    return figures | {"mb": answers[-1].details["mb"]}, [one.details["rows"] for one in answers]


def percentile(values: list[float], share: int) -> float:
    """Return a percentile as a plain number."""
    return float(np.percentile(values, share))


def forget(folder: Path) -> None:
    """Have the system read files from the disk again: it drops from its memory what is written and not mapped."""
    for path in folder.iterdir():
        with path.open("rb+") as file:
            os.fsync(file.fileno())
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
