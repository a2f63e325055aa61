"""A job beside bare `encode_iter` on the same texts: rate, memory, and how soon a finished job is taken up again.

    python -m benchmarks jobs.throughput MODEL --rows 3000
    python -m benchmarks jobs.throughput --rows 10000,100000,1000000      a static model: what a job costs by itself

Each measurement is a process of its own; opening the model does not count, reading the texts does, in both. The rate is
that of texts, each of which occurs once; CPU seconds tell more than the clock on a busy machine. Memory is the peak of
the process.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.inputs import static_model, write_lines
from benchmarks.report import Report, Table, progress

CHILD = """
import json, resource, sys, time
from pathlib import Path
what, source, out, model, form = sys.argv[1:6]
from edge_embed import Embedder
from edge_embed.jobs.running import run_job
from edge_embed.jobs.settings import Execution, Settings
import edge_embed.jobs.compute

def texts():
    with open(source, encoding="utf-8") as lines:
        for line in lines:
            yield json.loads(line)["text"]

if what == "bare":
    with Embedder(model) as embedder:
        embedder.encode("warm")
        wall, cpu = time.perf_counter(), time.process_time()
        count = sum(1 for _ in embedder.encode_iter(texts()))
else:
    with Embedder(model) as embedder:
        embedder.encode("warm")
    wall, cpu = time.perf_counter(), time.process_time()
    count = run_job(Path(out), [source], Settings(format=form), Execution(model=model)).vectors
wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
print(json.dumps({"texts": count, "wall": wall, "cpu": cpu, "peak": peak}))
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("model", nargs="?", help="default: a static model of random numbers, 256 dimensions")
    parser.add_argument("--rows", default="10000,100000", help="numbers of texts, by commas")
    parser.add_argument("--format", default="npy", choices=["npy", "parquet"], help="of the parts")
    parser.add_argument("--rounds", type=int, default=1, help="how often both take their turn; the best counts")


def run(args: argparse.Namespace) -> Report:
    """Measure each number of rows."""
    table = Table("rows", "", "texts/s", "CPU s", "of bare, wall", "of bare, CPU", "peak MB", "taken up again, s")
    figures: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        model = args.model or str(static_model(place / "static", 256))
        for rows in map(int, args.rows.split(",")):
            found = measure(place, model, rows, args.format, args.rounds)
            figures.append({"rows": rows, **found})
            bare, job = found["bare"], found["job"]
            for name in ("bare", "job"):
                one = found[name]
                same = name == "bare"
                table.add(
                    f"{rows:,}",
                    {"bare": "encode_iter", "job": "job"}[name],
                    f"{rows / one['wall']:,.0f}",
                    f"{one['cpu']:.1f}",
                    "" if same else f"{bare['wall'] / job['wall']:.2f}",
                    "" if same else f"{bare['cpu'] / job['cpu']:.2f}",
                    f"{one['peak'] / 1e6:,.0f}",
                    "" if same else f"{found['again']['wall']:.2f}",
                )
    return Report([table], {"model": args.model or "static", "format": args.format, "found": figures})


def measure(place: Path, model: str, rows: int, form: str, rounds: int) -> dict[str, Any]:
    """Return what bare encoding, a job, and the same job when it is done took: of several rounds the least."""
    source = write_lines(place / f"{rows}.jsonl", rows)
    found: dict[str, dict[str, float]] = {}
    for turn in range(rounds):
        out = place / f"out-{rows}-{turn}"
        for name, what in (("bare", "bare"), ("job", "job"), ("again", "job")):
            words: Sequence[str] = [sys.executable, "-c", CHILD, what, str(source), str(out), model, form]
            told = subprocess.run(words, check=True, capture_output=True, text=True).stdout
            one = json.loads(told.splitlines()[-1])
            progress(rows, name, one)
            before = found.get(name, one)
            found[name] = {key: min(one[key], before[key]) for key in one}
    return found
