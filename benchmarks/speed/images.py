"""Images per second through an image tower at full size, random weights, and where the time goes.

    python -m benchmarks speed.images                      jina-clip-v1: edge_embed's levels against PyTorch
    python -m benchmarks speed.images --tower e5-v         CLIP ViT-L/14-336 and E5-V's projector, up to five tiles each
    python -m benchmarks speed.images --size 4032x3024     as a telephone's camera makes them

JPEG bytes in, what the tower gives out, batches of 8. Decode and preprocess are timed by themselves in one thread; end
to end they run ahead in threads (edge_embed) or before each batch (the peers). Peers: of E5-V's tower transformers'
own; of jina-clip-v1's transformers' CLIP ViT-B/16, a tower of as many products as EVA02-B/16, and with
--peers "timm float32" EVA02-B/16 itself. Engines take turns, one process each; medians over the rounds.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path

from benchmarks.models.towers import SIDE, write_graphs
from benchmarks.report import Report, Table
from benchmarks.timing import Seconds, alternate, median
from benchmarks.worker import Answer, Worker

PARTS = ("decode", "preprocess", "encode", "all")


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    add = parser.add_argument
    add("--tower", default="jina-clip-v1", choices=list(SIDE), help="whose image tower")
    add("--levels", nargs="*", default=["float32", "int8", "int4"], help="edge_embed's levels")
    add("--size", default="640x480", help="width and height of the images, as in 640x480")
    add("--count", type=int, default=32, help="how many images")
    add("--rounds", type=int, default=5, help="how often each engine is measured")
    add(
        "--peers",
        nargs="*",
        default=["transformers float32", "transformers bfloat16"],
        help="library and type in PyTorch, each one argument in quotes",
    )


def run(args: argparse.Namespace) -> Report:
    """Write the graphs and let the engines take turns."""
    width, height = map(int, args.size.split("x"))
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        write_graphs(args.tower, args.levels, Path(folder))
        engines = [*(f"edge_embed {level}" for level in args.levels), *args.peers]
        shared = args.tower, width, height, args.count, folder
        workers = {engine: stack.enter_context(Worker("images", engine, *shared)) for engine in engines}
        answers = alternate({name: partial(worker.ask, None) for name, worker in workers.items()}, args.rounds)
    return report(f"{args.tower}, {args.size}", answers)


def report(size: str, answers: Mapping[str, Sequence[Answer]]) -> Report:
    """Tell milliseconds an image for each part, their shares, and images per second."""
    table = Table(
        f"{size}, ms an image",
        "decode",
        "preprocess",
        "encode",
        "preprocess / encode",
        "end to end",
        "CPU, end to end",
        "images/s, end to end",
    )
    rows = {}
    for engine, rounds in answers.items():
        times = {part: median(Seconds(*answer.details[part]) for answer in rounds) for part in PARTS}
        rows[engine] = {part: time.wall for part, time in times.items()} | {"all_cpu": times["all"].cpu}
        share, speed = times["preprocess"].wall / times["encode"].wall, 1000 / times["all"].wall
        table.add(
            engine,
            *(f"{times[part].wall:.1f}" for part in PARTS[:3]),
            f"{share:.0%}",
            f"{times['all'].wall:.1f}",
            f"{times['all'].cpu:.1f}",
            f"{speed:.1f}",
        )
    return Report([table], {"size": size, "engines": rows})
