"""Tokens per second at the real shapes of v5-text-nano and -small, random weights, against PyTorch and others.

    python -m benchmarks speed.shapes nano      edge_embed's levels against PyTorch float32 and bfloat16
    python -m benchmarks speed.shapes nano --torch --levels int8 --openvino-levels int8 --cases 512 2048 8192
    python -m benchmarks speed.shapes small --openvino MODEL.xml --peer-python PATH     with an OpenVINO model as well

Token ids in, one vector for each text out, so tokenisation plays no part. Engines take turns, one process each, the
largest lengths last; medians over the rounds. --dynamic adds our float32 graph quantised as sentence-transformers does
it: int8 activations with one scale for the whole batch, so that a vector depends on its neighbours.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path

from benchmarks.models.shapes import SHAPES, write_checkpoint, write_dynamic, write_graphs
from benchmarks.report import Report, Table
from benchmarks.timing import alternate, median
from benchmarks.worker import Answer, Worker

CASES = {
    "16": [16],
    "64": [64] * 8,
    "256": [256] * 4,
    "512": [512] * 2,
    "2048": [2048],
    "8192": [8192],
    "32768": [32768],  # minutes
    "mixed": [12, 18, 25, 33, 47, 64, 90, 130, 180, 250],
}
USUAL = ["16", "64", "256", "2048", "mixed"]


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    add = parser.add_argument
    add("shape", choices=SHAPES, help="whose sizes the random weights have")
    add("--levels", nargs="*", default=["float32", "int8", "int4"], help="edge_embed's levels")
    add("--cases", nargs="*", default=USUAL, choices=list(CASES), help="lengths of the texts, in tokens")
    add("--torch", nargs="*", default=["float32", "bfloat16"], help="PyTorch's types; none: without PyTorch")
    add("--openvino-levels", nargs="*", default=[], help="levels that OpenVINO runs as our own engine")
    add("--openvino", help="an OpenVINO model of the same shape, inputs input_ids and attention_mask")
    add("--dynamic", action="store_true", help="ONNX Runtime's dynamic quantisation, too")
    add("--all-rows", action="store_true", help="int8 with the last layer computed for every token, too")
    add("--peer-python", default=sys.executable, help="interpreter that has the peers installed")
    add("--keep", type=Path, help="a folder for the random checkpoint and the graphs, used again if there")
    add("--rounds", type=int, default=5, help="how often each engine is measured")


def run(args: argparse.Namespace) -> Report:
    """Make the weights and measure."""
    with tempfile.TemporaryDirectory() as scratch, ExitStack() as stack:
        folder = args.keep or Path(scratch)
        workers = {name: stack.enter_context(start()) for name, start in engines(args, folder).items()}
        answers = {case: measure(workers, case, args.rounds) for case in args.cases}
    return report(args.shape, args.cases, answers)


def engines(args: argparse.Namespace, folder: Path) -> dict[str, partial[Worker]]:
    """Write the models into the folder -> how to start the engine of each."""
    if not (folder / "config.json").exists():
        write_checkpoint(args.shape, folder)
    write_graphs(folder, args.levels, folder, "last")
    edge, peer = partial(Worker, "shapes", "edge"), partial(Worker, "shapes", python=args.peer_python)
    found = {f"edge_embed {level}": partial(edge, level, folder) for level in args.levels}
    if args.openvino_levels:
        write_graphs(folder, args.openvino_levels, folder / "portable", "last", portable=True)
        start = partial(Worker, "shapes", "edge-openvino", python=args.peer_python)
        found |= {f"edge_embed {x} on OpenVINO": partial(start, x, folder / "portable") for x in args.openvino_levels}
    found |= {f"PyTorch {dtype}": partial(peer, "torch", dtype, folder) for dtype in args.torch}
    if args.all_rows:
        write_graphs(folder, ["int8"], folder / "all-rows", "mean")
        found["edge_embed int8, all rows"] = partial(edge, "int8", folder / "all-rows")
    if args.openvino:
        found["OpenVINO int8"] = partial(peer, "openvino", args.openvino, folder)
    if args.dynamic:
        write_dynamic(folder)
        found["ONNX dynamic int8"] = partial(edge, "dynamic", folder)
    return found


def measure(workers: Mapping[str, Worker], case: str, rounds: int) -> dict[str, list[Answer]]:
    """Let the engines take turns at one case; the first round of each shape warms up."""
    calls = {name: partial(worker.ask, CASES[case]) for name, worker in workers.items()}
    return alternate(calls, rounds, rest=0.1)


def report(shape: str, cases: Sequence[str], answers: Mapping[str, Mapping[str, Sequence[Answer]]]) -> Report:
    """Tell tokens per second for each case, wall and CPU seconds of one round, and the peak memory."""
    table = Table(f"{shape}, tokens/s", *cases, "s", "CPU s", "peak MB")
    rows = {}
    for name in answers[cases[0]]:
        seconds = {case: median(answer.seconds for answer in answers[case][name]) for case in cases}
        speeds = {case: sum(CASES[case]) / seconds[case].wall for case in cases}
        wall, cpu = (sum(getattr(s, clock) for s in seconds.values()) for clock in ("wall", "cpu"))
        peak = answers[cases[-1]][name][-1].peak_mb
        rows[name] = speeds | {"wall_s": wall, "cpu_s": cpu, "peak_mb": peak}
        table.add(name, *(f"{speed:,.0f}" for speed in speeds.values()), f"{wall:.2f}", f"{cpu:.2f}", f"{peak:,.0f}")
    return Report([table], {"shape": shape, "engines": rows})
