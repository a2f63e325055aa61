"""Texts per second of edge_embed's MLX backend against mlx-embeddings on all-MiniLM-L6-v2, the same run, turn by turn.

    python -m venv peer && peer/bin/pip install 'mlx[cpu]' mlx-embeddings
    python -m benchmarks speed.mlx --peer-python peer/bin/python

Token ids in, vectors out, float32, so that tokenisation plays no part. mlx-embeddings gets batches of --batch texts in
the order given, as its users pass them, padded to the longest, and once more sorted by length, which edge_embed does by
itself; medians over the rounds. --growth N also embeds N texts and says by how much resident memory grew after the
first tenth.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.inputs import minilm
from benchmarks.report import Report, Table
from benchmarks.timing import alternate, median
from benchmarks.worker import Answer, Worker

PEERS = ("peer", "peer-sorted")
Ids = list[list[int]]


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    add = parser.add_argument
    add("--peer-python", default=sys.executable, help="interpreter that has mlx-embeddings")
    add("--peers", nargs="*", default=list(PEERS), choices=PEERS, help="mlx-embeddings; none: edge_embed alone")
    add("--model", type=Path, help="a BERT checkpoint's folder; default: all-MiniLM-L6-v2 from its package")
    add("--texts", type=int, default=64, help="how many texts")
    add("--batch", type=int, default=32, help="texts in a batch of mlx-embeddings")
    add("--rounds", type=int, default=5, help="how often each engine is measured")
    add("--growth", type=int, default=0, help="texts over which the growth of memory is measured; 0: it is not")


def run(args: argparse.Namespace) -> Report:
    """Start the engines and let them take turns."""
    folder = args.model or minilm()
    ids = token_ids(max(args.texts, args.growth))
    texts = ids[: args.texts]
    pythons = {"edge": sys.executable, **dict.fromkeys(args.peers, args.peer_python)}
    with ExitStack() as stack:
        workers = {
            name: stack.enter_context(Worker("mlx", name, folder, args.batch, python=python))
            for name, python in pythons.items()
        }
        calls = {name: partial(worker.ask, texts) for name, worker in workers.items()}
        report = tell(texts, alternate(calls, args.rounds))
        if not args.growth:
            return report
        grown = growth(workers["edge"], ids, args.growth)
    remark = f"resident memory after {args.growth} texts: {grown:+.1f} MB since the first tenth"
    report.figures["engines"]["edge"]["growth_mb"] = grown
    return Report([*report.parts, remark], report.figures)


def token_ids(count: int) -> Ids:
    """Return texts as random ids of BERT's vocabulary, 6 to 256 tokens long."""
    rng = np.random.default_rng(0)
    lengths = np.clip(np.rint(np.exp(rng.normal(3.2, 0.8, count))), 4, 256).astype(int)
    return [[101, *rng.integers(1000, 30000, length).tolist(), 102][:256] for length in lengths]


def tell(texts: Ids, answers: Mapping[str, Sequence[Answer]]) -> Report:
    """Put the medians into a table; ratios are to mlx-embeddings in the order given."""
    table = Table("engine", "texts/s", "ratio", "s", "CPU s", "cosine")
    rows: dict[str, dict[str, Any]] = {}
    for name, rounds in answers.items():
        seconds = median(answer.seconds for answer in rounds)
        cosine = float(np.dot(rounds[-1].details["vector"], answers["edge"][-1].details["vector"]))
        rows[name] = {"texts_per_second": len(texts) / seconds.wall, "cosine_to_edge": cosine}
        rows[name] |= {"wall_s": seconds.wall, "cpu_s": seconds.cpu}
    for name, row in rows.items():
        ratio = f"{row['texts_per_second'] / rows['peer']['texts_per_second']:.2f}" if "peer" in rows else "-"
        times = f"{row['wall_s']:.2f}", f"{row['cpu_s']:.2f}"
        table.add(name, f"{row['texts_per_second']:.1f}", ratio, *times, f"{row['cosine_to_edge']:.6f}")
    return Report([table], {"texts": len(texts), "tokens": sum(map(len, texts)), "engines": rows})


def growth(worker: Worker, ids: Ids, count: int) -> float:
    """Return by how many MB resident memory grew after the first tenth of the texts, at most."""
    tenth = count // 10
    before = worker.ask(ids[:tenth]).details["resident_mb"]
    later = [worker.ask(ids[n : n + tenth]).details["resident_mb"] for n in range(tenth, count, tenth)]
    return float(max(later) - before)
