"""A Mac's table: tokens per second and memory of every MLX level at the shapes of v5-text-nano and -small.

On a Mac with Apple silicon, plugged in, other programs closed, in a clone, as docs/mac.md installs it:

    .venv/bin/python -m benchmarks speed.apple          nano's shape
    .venv/bin/python -m benchmarks speed.apple small

A run takes a few minutes and 4 GB of memory. Please send what it prints: the table and the JSON line, which names
the chip. Weights are random, since speed does not depend on them; nothing is fetched. Token ids in, one vector out for
each text. Levels run one after the other, each in a process of its own so that peak memory is its own; the figures are
medians of --rounds. It runs on MLX's CPU build as well (the shape `tiny` makes that short), where the figures mean
little.
"""

from __future__ import annotations

import argparse
import json
import platform
import tempfile
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.models.mlx import LEVELS, SHAPES, write
from benchmarks.report import Report, Table, progress
from benchmarks.timing import alternate, median
from benchmarks.worker import Worker

CASES = {"16": [16], "8 x 64": [64] * 8, "32 x 160": [160] * 32, "2048": [2048]}


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    add = parser.add_argument
    add("shape", nargs="?", default="nano", choices=list(SHAPES), help="whose sizes the random weights have (nano)")
    add("--levels", nargs="*", default=list(LEVELS), choices=LEVELS, help="of the weights")
    add("--cases", nargs="*", default=list(CASES), choices=list(CASES), help="lengths of the texts, in tokens")
    add("--layers", type=int, help="fewer layers than the model has, for a trial")
    add("--rounds", type=int, default=9, help="how often each case is measured")


def run(args: argparse.Namespace) -> Report:
    """Make the weights of each level and measure it."""
    config = SHAPES[args.shape] | ({"num_hidden_layers": args.layers} if args.layers else {})
    rows: dict[str, dict[str, float]] = {}
    for level in args.levels:
        rows[level] = measure(config, level, args.cases, args.rounds)
        progress(level, rows[level])
    return report(args.shape, config, args.cases, rows)


def measure(config: dict[str, Any], level: str, cases: Sequence[str], rounds: int) -> dict[str, float]:
    """Embed every case -> tokens per second, seconds of one round, and the peak of MLX's memory in MB."""
    figures: dict[str, float] = {}
    wall, cpu, peak = 0.0, 0.0, 0.0
    with tempfile.TemporaryDirectory() as scratch:
        (Path(scratch) / "config.json").write_text(json.dumps(config))
        with Worker("apple", scratch, level, write(config, Path(scratch), level)) as worker:
            for case in cases:  # the first round of each shape warms up
                answers = alternate({case: partial(worker.ask, CASES[case])}, rounds)[case]
                seconds = median(answer.seconds for answer in answers)
                figures[case] = sum(CASES[case]) / seconds.wall
                wall, cpu = wall + seconds.wall, cpu + seconds.cpu
                peak = answers[-1].details["mlx_peak_mb"]
    return figures | {"wall_s": wall, "cpu_s": cpu, "MB": peak}


def report(shape: str, config: dict[str, Any], cases: Sequence[str], rows: Mapping[str, dict[str, float]]) -> Report:
    """Make the table, and tell what machine it was."""
    import mlx.core as mx

    device = mx.device_info() if mx.default_device() != mx.cpu else {}
    chip = device.get("device_name", platform.processor() or platform.machine())
    table = Table(f"{shape}, tokens/s on {chip}", *cases, "s", "CPU s", "peak MB")
    for level, row in rows.items():
        seconds = f"{row['wall_s']:.2f}", f"{row['cpu_s']:.2f}"
        table.add(level, *(f"{row[case]:,.0f}" for case in cases), *seconds, f"{row['MB']:,.0f}")
    about = {"device": str(mx.default_device()), "chip": chip}
    return Report([table], {"shape": shape, "layers": config["num_hidden_layers"], **about, "levels": dict(rows)})
