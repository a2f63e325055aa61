"""What it costs to hash weights when they are loaded: a file's first load, later loads, from disk and from memory.

    python -m benchmarks speed.shapes nano --keep DIR --levels int8 --cases 16      makes DIR/onnx/model_int8.onnx
    python -m benchmarks speed.load DIR/onnx/model_int8.onnx MODEL.gguf

Each load is a process of its own and computes one text of 16 tokens; imports do not count. From disk: the file was
dropped from the system's cache before (posix_fadvise). The kinds take turns; medians over the rounds.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.report import Report, Table, progress
from edge_embed.hub.digests import SHA256, digest_of

KINDS = ("read", "plain", "first", "later")
Figures = dict[str, dict[str, float]]


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("files", nargs="+", type=Path, help="an .onnx file with its data beside, or a .gguf file")
    parser.add_argument("--rounds", type=int, default=5, help="how often each kind takes its turn")


def run(args: argparse.Namespace) -> Report:
    """Measure each file."""
    table = Table("seconds", "MB", "", "read once", "loaded", "and hashed, first", "and hashed, later")
    figures: dict[str, Figures] = {}
    for path in args.files:
        data = path.with_name(f"{path.name}_data") if path.suffix == ".onnx" else path
        found = figures[path.name] = measure(path, data, args.rounds)
        for place, seconds in found.items():
            size = f"{data.stat().st_size / 1e6:,.0f}"
            table.add(path.name, size, place, *(f"{seconds[kind]:.3f}" for kind in KINDS))
    return Report([table], {"files": figures})


def measure(path: Path, data: Path, rounds: int) -> Figures:
    """Return the median seconds of each kind, from disk and from memory."""
    digest = digest_of(data, SHA256)
    taken: dict[str, dict[str, list[float]]] = {place: {kind: [] for kind in KINDS} for place in ("disk", "memory")}
    for turn in range(rounds):
        for place, kinds in taken.items():
            with tempfile.TemporaryDirectory() as cache:
                for kind, seconds in kinds.items():
                    if place == "disk":
                        drop(data)
                    mode = "hashed" if kind in ("first", "later") else kind
                    words = [sys.executable, "-m", "benchmarks.engines.load", str(path), digest, mode, cache]
                    seconds.append(float(subprocess.run(words, check=True, capture_output=True, text=True).stdout))
                    progress(path.name, turn, place, kind, f"{seconds[-1]:.3f}")
    return {
        place: {kind: statistics.median(seconds) for kind, seconds in kinds.items()} for place, kinds in taken.items()
    }


def drop(path: Path) -> None:
    """Drop a file from the system's cache."""
    with path.open("rb") as file:
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
