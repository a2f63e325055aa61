"""What each level keeps of a model whose channels are massive, beside the same model without them.

    python -m benchmarks quality.massive BASE [--task retrieval] [--to onnx:all,gguf:Q8_0]

BASE: a checkpoint, with adapters where a task is named. Three outputs of every norm, or of BERT's values, are made 30,
55 and 100 times too large, which is undone in the weights that read them, so that float32 gives the same vectors.
Cosines are those of the conversion's verification; a level below its bound is marked.
"""

from __future__ import annotations

import argparse
import re
import sys
import tempfile
from pathlib import Path

from benchmarks.report import Report, Table, progress
from edge_embed_convert import convert
from tests.support.massive import make

LEVELS = "onnx:all,gguf:F16,gguf:Q8_0,gguf:Q4_K_M,gguf:IQ3_M,mlx:8bit,mlx:4bit"
LINE = re.compile(r"(\S+) (verified|kept below its bound): mean cosine ([\d.]+), minimum ([\d.]+)")


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("base", type=Path, help="the checkpoint's folder")
    parser.add_argument("--task", help="the adapter to merge")
    parser.add_argument("--to", default=LEVELS, help="FORMAT:LEVEL,...")


def run(args: argparse.Namespace) -> Report:
    """Convert both, and put what was measured side by side."""
    to = args.to.split(",")
    with tempfile.TemporaryDirectory() as scratch:
        plain = measured(args.base, args.task, to, Path(scratch) / "plain")
        planted = make(args.base, Path(scratch) / "base", args.task)
        massive = measured(planted, None, to, Path(scratch) / "massive")
    table = Table(args.base.name, "mean cosine", "least", "with massive channels", "least")
    for level, cells in plain.items():
        table.add(level, *cells, *massive[level])
    return Report([table], {"base": args.base.name, "plain": plain, "massive": massive})


def measured(base: Path, task: str | None, to: list[str], out: Path) -> dict[str, list[str]]:
    """Convert, keeping what falls below its bound -> mean and least cosine by level, as they are printed."""
    found: dict[str, list[str]] = {}

    def note(line: str) -> None:
        print(line, file=sys.stderr)
        if match := LINE.match(line):
            mark = "" if match[2] == "verified" else " (refused)"
            found[match[1]] = [f"{float(match[3]):.4f}{mark}", f"{float(match[4]):.4f}"]
            progress(out.name, match[1], *found[match[1]])

    convert(base, out, to, task=task, accept_loss=True, report=note)
    return found
