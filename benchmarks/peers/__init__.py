"""Every peer in an environment of its own, with one protocol, beside edge_embed: speed, and cosine to the oracle.

    python -m benchmarks peers --quick                         100 texts, MiniLM; what is made goes when it ends
    python -m benchmarks peers --keep DIR --out benchmarks/results/NAME.json
    python -m benchmarks peers --keep DIR --prepare            make environments and models, and measure nothing

Each engine has its own recommended settings and the same threads. Engines take turns; medians and quartiles over the
rounds. LLAMA_SERVER names a llama-server, else the one on the path is taken. `python -m benchmarks peers.write` makes
tables and pictures of what --out wrote.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from benchmarks.report import Report

REAL = ("all-MiniLM-L6-v2", "multilingual-e5-small")
STAGES = ("limits", "models", "starts", "asking", "long", "images", "growth", "conversion")


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    add = parser.add_argument
    add("--quick", action="store_true", help="MiniLM, 100 texts, three rounds, 2,048 tokens at most, growth to 100,000")
    add("--only", nargs="*", default=[], metavar="NAME", help="peers whose names start so, beside ours and PyTorch")
    add("--models", nargs="*", default=[], choices=REAL, help="real models (both, or MiniLM with --quick)")
    add("--stages", nargs="*", default=list(STAGES), choices=STAGES, help="what is measured")
    add("--texts", type=int, help="how many texts in bulk (2,000, or 100 with --quick)")
    add("--rounds", type=int, help="how often each engine is measured (5, or 3 with --quick)")
    add("--threads", type=int, help="threads of every engine, bound to as many CPUs (all that are usable)")
    add("--minutes", type=float, help="begin no further part after so many minutes")
    add("--keep", type=Path, help="a folder for environments, models and vectors, used again if there")
    add("--prepare", action="store_true", help="make environments and models, and measure nothing")
    add("--out", type=Path, help="a JSON file for what was found, written after each part")


def run(args: argparse.Namespace) -> Report:
    """Make what is missing, measure, and tell."""
    from .measure import measure  # what engines import of this package is little

    return measure(args)
