"""What embedding texts spends beside the engine: tokenisation, batching, padding, pooling and the rest, in per cent.

    python -m benchmarks speed.shares                 all-MiniLM-L6-v2 int8, converted here
    python -m benchmarks speed.shares MODEL:int8      another model

Texts of mixed length in bulk, then one query at a time. Shares are of wall time; medians over the rounds. A part's time
is what its function takes without the parts inside of it, so that all add up; `engine` is the call of ONNX Runtime or
of llama.cpp alone.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from statistics import median

from benchmarks.inputs import minilm, texts
from benchmarks.report import Report, Table
from benchmarks.timing import alternate
from benchmarks.worker import Answer, Worker
from edge_embed.device.machine import usable_cpus
from edge_embed_convert import convert

REST = "rest"


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("model", nargs="?", help="a reference with its level; default: all-MiniLM-L6-v2 int8")
    parser.add_argument("--threads", type=int, default=usable_cpus(), help="of the engine")
    parser.add_argument("--texts", type=int, default=500, help="how many in bulk")
    parser.add_argument("--queries", type=int, default=100, help="how many one by one, of 16 words at most")
    parser.add_argument("--rounds", type=int, default=5, help="how often each is measured")


def run(args: argparse.Namespace) -> Report:
    """Let bulk and queries take turns."""
    corpus = texts(max(args.texts, args.queries))
    requests = {
        "bulk": {"texts": corpus[: args.texts], "together": True},
        "query": {"texts": [" ".join(one.split()[:16]) for one in corpus[: args.queries]], "together": False},
    }
    with tempfile.TemporaryDirectory() as scratch:
        model = args.model or f"{convert(minilm(), Path(scratch), ['onnx:int8'], name='all-MiniLM-L6-v2')[0]}:int8"
        with Worker("shares", model, args.threads) as worker:
            calls = {case: partial(worker.ask, request) for case, request in requests.items()}
            answers = alternate(calls, args.rounds)
    return report(answers)


def report(answers: Mapping[str, Sequence[Answer]]) -> Report:
    """Tell each part's share of the wall time, in per cent, and a text's milliseconds."""
    found = {case: [shares(answer) for answer in rounds] for case, rounds in answers.items()}
    parts = {part for rounds in found.values() for one in rounds for part in one}
    rows = {
        part: {case: median(one.get(part, 0.0) for one in rounds) for case, rounds in found.items()} for part in parts
    }
    table = Table("% of wall time", *found)
    for part in sorted(parts, key=lambda part: -rows[part]["bulk"]):
        table.add(part, *(f"{share:.1f}" for share in rows[part].values()))
    walls = {case: median(answer.seconds.wall for answer in rounds) for case, rounds in answers.items()}
    table.add("all, s", *(f"{wall:.3f}" for wall in walls.values()))
    return Report([table], {"shares": rows, "wall_s": walls})


def shares(answer: Answer) -> dict[str, float]:
    """Return each part's share, and what no clock was around."""
    wall = answer.seconds.wall
    parts = {part: 100 * seconds / wall for part, seconds in answer.details.items()}
    return {**parts, REST: 100 - sum(parts.values())}
