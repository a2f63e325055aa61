"""Seconds to see that nothing has changed in many files: the whole of an update, embedding nothing.

python -m benchmarks search.unchanged --files 100000
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from pathlib import Path

from benchmarks.report import Report, Table
from benchmarks.search.made import make_vectors, open_new
from edge_embed.search.coding import code
from edge_embed.search.store import Passage, Source
from edge_embed.search.update import update
from edge_embed.search.walk import Walk

FOLDER = 100  # files of a folder


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("--files", type=int, default=100_000, help="how many")
    parser.add_argument("--ignore", action="store_true", help="with a .gitignore of three patterns")


def run(args: argparse.Namespace) -> Report:
    """Write files, note them in an index, and look for changes."""
    table = Table("files", "processor, s", "wall, s")
    figures = {}
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder) / "home"
        (one,) = code(next(make_vectors(1, 64)))
        database = open_new(Path(folder) / "i.db", 64)
        database.put(
            (
                Source(kind="file", key=os.fsencode(path), time=0.0, size=size, mtime_ns=mtime),
                [Passage(0, 4, 1, path.name)],
                [one],
            )
            for path, size, mtime in written(home, args.files)
        )
        if args.ignore:
            (home / ".git").mkdir()
            (home / ".gitignore").write_text("*.pyc\nbuild/\n/node_modules\n")
        for turn in range(2):
            cpu, wall = time.process_time(), time.perf_counter()
            report = update(database, None, Walk([os.fsencode(home)]), (), lambda count=1: None)  # type: ignore[arg-type]
            cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
            assert (report.unchanged, report.removed, report.indexed) == (args.files, 0, 0)
            table.add(f"{args.files:,}", f"{cpu:.2f}", f"{wall:.2f}")
            figures[f"turn {turn}"] = {"cpu": cpu, "wall": wall}
        database.close()
    return Report([table], figures)


def written(home: Path, count: int) -> list[tuple[Path, int, int]]:
    """Write files; return their paths, sizes and times."""
    found = []
    for n in range(count):
        path = home / f"{n // FOLDER}" / f"{n}.txt"
        if n % FOLDER == 0:
            path.parent.mkdir(parents=True)
        path.write_text("text")
        status = path.stat()
        found.append((path, status.st_size, status.st_mtime_ns))
    return found
