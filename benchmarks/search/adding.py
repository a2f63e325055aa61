"""Seconds, and how flat memory stays, while many short texts are embedded and added to an index by Index.add.

    python -m benchmarks search.adding --texts 1000000

By default the model is a static one of random numbers, 256 dimensions, so that all that is not embedding shows. Words
are added a second time at the end, which tells their share. Seconds are of the processor but for the first column.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.inputs import static_model, texts
from benchmarks.report import Report, Table, progress
from benchmarks.timing import timed
from benchmarks.worker import memory_mb
from edge_embed import Embedder, Index

DIMS = 256
SHORT = range(20, 201)  # letters
KNOWN = 4000  # texts of the corpus, of which the short ones are taken


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("--texts", type=int, default=100_000, help="how many")
    parser.add_argument("--call", type=int, default=10_000, help="texts of one call, which is one transaction")
    parser.add_argument("--model", help="a reference; default: a static model of random numbers")


def run(args: argparse.Namespace) -> Report:
    """Add, and tell a tenth at a time."""
    known = [text for text in texts(KNOWN) if len(text) in SHORT]
    letters = sum(map(len, known)) / len(known)
    table = Table("texts", "wall, s", "all, s", "embedding, s", "the index, s", "MB", "anonymous memory, MB")
    figures: list[dict[str, float]] = []
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "i.db"
        model = args.model or static_model(Path(folder) / "model", DIMS)
        with Embedder(model) as embedder, Index.open(path, embedder) as index:
            writing = Clock(index._database, "put", "tidy")
            wall, cpu = time.perf_counter(), time.process_time()
            tenth = max(args.call, args.texts // 10)
            for start in range(0, args.texts, args.call):
                end = min(start + args.call, args.texts)
                index.add({"id": n, "text": f"{n} {known[n % len(known)]}"} for n in range(start, end))
                if end % tenth < args.call or end == args.texts:
                    spent = (time.perf_counter() - wall, time.process_time() - cpu)
                    found = dict(zip(("wall", "cpu"), spent, strict=True)) | {"index": writing.seconds}
                    found |= {"mb": os.path.getsize(path) / 1e6, "memory": memory_mb("RssAnon")}
                    figures.append({"texts": end} | found)
                    embedding = found["cpu"] - found["index"]
                    cells = (found["wall"], found["cpu"], embedding, found["index"], found["mb"], found["memory"])
                    table.add(f"{end:,}", *(f"{one:.1f}" for one in cells))
                    progress(end, *cells)
            _, words = timed(lambda: index._database.rows("INSERT INTO words (words) VALUES ('rebuild')"))
    note = f"Texts have {letters:.0f} letters on average. Their words alone, added anew: {words.cpu:.1f} s."
    return Report([table, note], {"model": str(args.model), "words": words.cpu, "steps": figures})


class Clock:
    """Count the processor's seconds that are spent in some methods of an object."""

    def __init__(self, of: Any, *names: str) -> None:
        self.seconds = 0.0
        for name in names:
            setattr(of, name, self._counted(getattr(of, name)))

    def _counted(self, method: Callable[..., Any]) -> Callable[..., Any]:
        def counted(*arguments: Any) -> Any:
            result, seconds = timed(lambda: method(*arguments))
            self.seconds += seconds.cpu
            return result

        return counted
