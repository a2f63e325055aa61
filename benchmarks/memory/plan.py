"""The memory plan against the measured resident peak, one process each.

    python -m benchmarks memory.plan FOLDER... --tokens 16 512 2048

For every candidate of every model (a folder or a .gguf file) and every length: load, embed one text of random token ids
drawn from the whole vocabulary, after eight images where the model takes any, and read the peak.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from benchmarks.report import Report, Table, progress
from benchmarks.worker import run_once
from edge_embed.layouts.folder import ModelFolder, read_folder
from edge_embed.selection.memory import memory_plans

MB = 1 << 20


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("models", nargs="+", type=Path, help="folders or .gguf files")
    parser.add_argument("--tokens", nargs="*", type=int, default=[16, 512, 2048], help="lengths of the text")
    parser.add_argument("--vocabulary", type=int, help="how many token ids to draw from; default: config.json's")


def run(args: argparse.Namespace) -> Report:
    """Measure every candidate."""
    table = Table("model", "candidate", "tokens", "planned MB", "measured MB", "error")
    rows = []
    for place in args.models:
        model = read_folder(place)
        vocabulary = args.vocabulary or vocabulary_of(model)
        for tokens in (count for count in args.tokens if count <= model.spec.max_tokens):
            for plan in memory_plans(model, tokens, tokens):
                (measured,) = run_once("memory", place, plan.candidate, tokens, vocabulary)
                error = plan.total / measured - 1
                rows.append((place.stem, plan.candidate, tokens, plan.total, measured, error))
                sizes = f"{plan.total / MB:,.0f}", f"{measured / MB:,.0f}"
                table.add(place.stem, plan.candidate, f"{tokens:,}", *sizes, f"{error:+.1%}")
                progress(place.stem, plan.candidate, f"{tokens:,}", *sizes, f"{error:+.1%}")
    return Report([table], {"memory": rows, "worst": max(abs(row[-1]) for row in rows)})


def vocabulary_of(model: ModelFolder) -> int:
    """Return how many token ids there are by the model's configuration."""
    return int(json.loads((model.folder / "config.json").read_text("utf-8"))["vocab_size"])
