"""A Raspberry Pi's table: one query at a time, texts in bulk, memory, heat. To be pasted where the Pi is written about.

On a Pi, in a clone, as docs/raspberry-pi.md installs it, with other programs closed:

    .venv/bin/python -m benchmarks speed.pi
    taskset -c 0,1 .venv/bin/python -m benchmarks speed.pi      the same on two cores

Measures all-MiniLM-L6-v2 at int8 and a static model of 256 dimensions with random rows, or the MODELs that are named,
one after the other, each in a process of its own. Queries have up to 60 characters; bulk is passages of 10 to 1,500,
over and over for --seconds, so that a board without a cooler gets as hot as it does at work: the first round is told
apart from the median of the last quarter. Temperature and frequency are read every second from /sys, and what the
firmware slowed down since the start comes from vcgencmd, where it is. Runs on any Linux.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from benchmarks.inputs import minilm, texts
from benchmarks.models import static
from benchmarks.report import Report, Table, progress
from benchmarks.sensors import Watch, throttled
from benchmarks.worker import Worker

Figures = dict[str, float | None]


@dataclass(frozen=True)
class Load:
    """What is embedded: a file with the queries and behind them the passages, how many of each, and for how long."""

    path: Path
    queries: int
    passages: int
    seconds: float


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    add = parser.add_argument
    add("models", nargs="*", metavar="MODEL", help="as Embedder takes them; default: all-MiniLM-L6-v2 and a static one")
    add("--queries", type=int, default=200, help="how many single texts")
    add("--texts", type=int, default=256, help="how many passages a round of bulk has")
    add("--seconds", type=float, default=60.0, help="how long bulk goes on, at the least")


def run(args: argparse.Namespace) -> Report:
    """Measure the models one after the other."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        path = folder / "texts.json"
        passages = texts(args.texts)
        path.write_text(json.dumps([*texts(args.queries, longest=60), *passages]), "utf-8")
        load = Load(path, args.queries, args.texts, args.seconds)
        models = {name: name for name in args.models} or usual(folder)
        rows: dict[str, Figures] = {}
        for name, model in models.items():
            rows[name] = measure(model, load)
            progress(name, rows[name])
    return report(rows, args.seconds)


def usual(folder: Path) -> dict[str, str]:
    """Make the two models that the table is about -> what to call them, and where they are."""
    from edge_embed_convert import convert

    source = minilm()
    (made,) = convert(source, folder / "made", ["onnx:int8"], name="all-MiniLM-L6-v2")
    table = static.write(folder / "static", source / "tokenizer.json")
    return {"all-MiniLM-L6-v2 int8": f"{made}:int8", f"static, {static.DIM} dimensions": str(table)}


def measure(model: str, load: Load) -> Figures:
    """Start a model, ask it text by text, then in bulk."""
    with Watch() as sensors:
        began = time.perf_counter()
        with Worker("texts", "edge", model, load.path) as worker:
            worker.ask([0, 1])
            start = time.perf_counter() - began
            waits = [1000 * worker.ask([n, n + 1]).seconds.wall for n in range(load.queries)]
            rates: list[float] = []
            cpu, until = 0.0, time.perf_counter() + load.seconds
            while not rates or time.perf_counter() < until:
                answer = worker.ask([load.queries, load.queries + load.passages])
                rates.append(load.passages / answer.seconds.wall)
                cpu += answer.seconds.cpu
    return {
        "start_s": start,
        "p50_ms": statistics.median(waits),
        "p90_ms": sorted(waits)[9 * len(waits) // 10],
        "first_per_s": rates[0],
        "last_per_s": statistics.median(rates[-max(1, len(rates) // 4) :]),
        "cpu_ms": 1000 * cpu / (load.passages * len(rates)),
        "peak_mb": answer.peak_mb,
        "celsius": sensors.start,
        "hottest": sensors.hottest,
        "slowest_mhz": sensors.slowest,
    }


def report(rows: Mapping[str, Figures], seconds: float) -> Report:
    """Make the table, and say what the firmware did."""
    table = Table(
        "model",
        "start to first vector, s",
        "one query, ms: p50",
        "p90",
        "bulk, texts/s",
        f"after {seconds:g} s",
        "CPU ms a text",
        "peak MB",
        "°C before",
        "hottest",
        "least MHz",
    )
    for name, row in rows.items():
        forms = ("start_s", 2), ("p50_ms", 1), ("p90_ms", 1), ("first_per_s", 1), ("last_per_s", 1), ("cpu_ms", 1)
        whole = ("peak_mb", 0), ("celsius", 0), ("hottest", 0), ("slowest_mhz", 0)
        table.add(name, *(shown(row[key], digits) for key, digits in (*forms, *whole)))
    slowed = throttled()
    told = "vcgencmd: not there" if slowed is None else f"slowed since the start by: {', '.join(slowed) or 'nothing'}"
    return Report([table, told], {"models": dict(rows), "throttled": slowed})


def shown(value: float | None, digits: int) -> str:
    """Write a figure, or that the machine does not tell."""
    return "?" if value is None else f"{value:,.{digits}f}"
