"""Throughput, peak memory and time to the first vector, against sentence-transformers in the same run.

    python -m benchmarks speed.texts                           all-MiniLM-L6-v2, 2,000 texts, against PyTorch
    python -m benchmarks speed.texts --peers torch onnx --peer-python PATH     optimum-onnx is in another environment

Engines take turns, one process each, tokenisation included; medians over the rounds.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.inputs import minilm, texts
from benchmarks.report import Report, Table
from benchmarks.timing import alternate, median
from benchmarks.worker import Answer, Worker
from edge_embed import Embedder
from edge_embed_convert import convert

TORCH = "sentence-transformers torch"
Starts = Mapping[str, partial[Worker]]


@dataclass(frozen=True)
class Measured:
    """One engine's rounds: all texts in bulk, and seconds from the start of a process to its first vector."""

    bulk: Sequence[Answer]
    starts: Sequence[float]


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("--model", type=Path, help="a checkpoint's folder; default: all-MiniLM-L6-v2 from its package")
    parser.add_argument("--texts", type=int, default=2000, help="how many texts")
    parser.add_argument("--rounds", type=int, default=5, help="how often each engine is measured")
    parser.add_argument(
        "--batch-tokens", nargs="*", default=[], help="other budgets to try with int8, for example 4096"
    )
    parser.add_argument(
        "--peers", nargs="*", default=["torch"], choices=["torch", "onnx"], help="sentence-transformers' backends"
    )
    parser.add_argument("--peer-python", default=sys.executable, help="interpreter that has the peers installed")


def run(args: argparse.Namespace) -> Report:
    """Convert the model and measure it and its peers."""
    source = args.model or minilm()
    name = "all-MiniLM-L6-v2" if args.model is None else source.name
    corpus = texts(args.texts)
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / "texts.json"
        path.write_text(json.dumps(corpus), "utf-8")
        (folder,) = convert(source, Path(scratch), ["onnx:float32", "onnx:int8"], name=name)
        with Embedder(folder) as model:
            tokens = sum(count.tokens - count.cut for count in model.count_tokens(corpus))
        starts = {
            f"edge_embed {level}": partial(Worker, "texts", "edge", f"{folder}:{level}", path)
            for level in ("float32", "int8")
        }
        for budget in args.batch_tokens:
            starts[f"edge_embed int8, {budget}"] = partial(Worker, "texts", "edge", f"{folder}:int8", path, budget)
        for peer in args.peers:
            command = partial(Worker, "texts", peer, source, path, python=args.peer_python)
            starts[f"sentence-transformers {peer}"] = command
        return report(measure(starts, args.rounds), len(corpus), tokens)


def measure(starts: Starts, rounds: int) -> dict[str, Measured]:
    """Let the engines take turns: all texts first, then fresh starts."""
    with ExitStack() as stack:
        workers = {name: stack.enter_context(start()) for name, start in starts.items()}
        for worker in workers.values():
            worker.ask(1)
        calls = {name: partial(worker.ask, None) for name, worker in workers.items()}
        bulk = alternate(calls, rounds, warm_up=0, rest=0.2)
    first = {name: partial(start_to_first_vector, start) for name, start in starts.items()}
    waits = alternate(first, rounds, warm_up=0)
    return {name: Measured(bulk[name], waits[name]) for name in starts}


def start_to_first_vector(start: partial[Worker]) -> float:
    """Measure a fresh process, from its start until its first vector is back; in seconds."""
    begin = time.perf_counter()
    with start() as worker:
        worker.ask(1)
        return time.perf_counter() - begin


def report(measured: Mapping[str, Measured], count: int, tokens: int) -> Report:
    """Put the medians into a table; ratios are to sentence-transformers on PyTorch."""
    table = Table(
        "engine", "texts/s", "tokens/s", "ratio", "s", "CPU s", "peak MB", "start to first vector, s", "ratio"
    )
    rows = {name: figures(engine, measured.get(TORCH), count, tokens) for name, engine in measured.items()}
    for name, row in rows.items():
        table.add(
            name,
            f"{row['texts_per_s']:,.0f}",
            f"{row['tokens_per_s']:,.0f}",
            f"{row.get('speed_ratio', 0):.2f}",
            f"{row['wall_s']:.2f}",
            f"{row['cpu_s']:.2f}",
            f"{row['peak_mb']:,.0f}",
            f"{row['start_s']:.2f}",
            f"{row.get('start_ratio', 0):.1f}",
        )
    rounds = len(next(iter(measured.values())).starts)
    title = f"{count} texts, {tokens} tokens, medians of {rounds}"
    return Report([title, table], {"texts": count, "tokens": tokens, "engines": rows})


def figures(engine: Measured, base: Measured | None, count: int, tokens: int) -> dict[str, Any]:
    """Compute one engine's medians; ratios round by round, so that a change of the machine's speed falls out."""
    seconds = median(answer.seconds for answer in engine.bulk)
    row: dict[str, Any] = {
        "texts_per_s": count / seconds.wall,
        "tokens_per_s": tokens / seconds.wall,
        "wall_s": seconds.wall,
        "cpu_s": seconds.cpu,
        "peak_mb": engine.bulk[-1].peak_mb,
        "start_s": statistics.median(engine.starts),
    }
    if base is not None:
        walls = [[answer.seconds.wall for answer in side.bulk] for side in (engine, base)]
        row["speed_ratio"] = ratio(*walls)
        row["start_ratio"] = ratio(engine.starts, base.starts)
    return row


def ratio(own: Sequence[float], base: Sequence[float]) -> float:
    """Return how many times as fast as the base: the median over the rounds."""
    return statistics.median(theirs / ours for ours, theirs in zip(own, base, strict=True))
