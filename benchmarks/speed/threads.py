"""What an engine's threads cost and gain by spinning: wall, CPU and latency, on an idle and a busy machine.

    python -m benchmarks speed.threads                        all-MiniLM-L6-v2 int8, converted here
    python -m benchmarks speed.threads MODEL:int8 --busy 0 2  another model, beside no and two busy processes
    python -m benchmarks speed.threads --backend gguf         llama.cpp, all-MiniLM-L6-v2 Q8_0

A thread that has done its share waits for the others' in a loop, for some time, before it sleeps: that saves the
wake-up and burns a core. Settings take turns, each in a process of its own: in bulk, one query after the other, one
every 20 ms and every 200. Texts are of 16 words or so.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.inputs import minilm, texts
from benchmarks.report import Report, Table, progress
from benchmarks.timing import alternate, median
from benchmarks.worker import Answer, Worker
from edge_embed.device.machine import usable_cpus
from edge_embed_convert import convert

PREFIX = "session.intra_op."
ONNX: dict[str, dict[str, str]] = {  # entries of a session
    "spins (ONNX Runtime's default)": {},
    "stops after a call": {"session.force_spinning_stop": "1"},
    "50 us": {f"{PREFIX}spin_duration_us": "50"},
    "200 us": {f"{PREFIX}spin_duration_us": "200"},
    "1 ms": {f"{PREFIX}spin_duration_us": "1000"},
    "50 us, stops after a call": {f"{PREFIX}spin_duration_us": "50", "session.force_spinning_stop": "1"},
    "sleeps": {f"{PREFIX}allow_spinning": "0"},
}
GGUF: dict[str, dict[str, str]] = {  # environment variables, of a build with GCC's OpenMP
    "300,000 turns (GCC's default)": {"GOMP_SPINCOUNT": "300000"},
    "10,000 turns": {"GOMP_SPINCOUNT": "10000"},
    "1,000 turns": {"GOMP_SPINCOUNT": "1000"},
    "no turns": {"GOMP_SPINCOUNT": "0"},
}
SETTINGS = {"onnx": ONNX, "gguf": GGUF}
LEVELS = {"onnx": "onnx:int8", "gguf": "gguf:Q8_0"}
CASES: dict[str, tuple[int, float | None]] = {  # texts, seconds between them
    "bulk": (300, None),
    "back to back": (100, 0.0),
    "every 20 ms": (100, 0.02),
    "every 200 ms": (20, 0.2),
}
SPIN = "while True: pass"


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("model", nargs="?", help="a reference with its level; default: all-MiniLM-L6-v2, 8 bits")
    parser.add_argument("--backend", default="onnx", choices=list(SETTINGS), help="whose threads")
    parser.add_argument("--threads", type=int, default=usable_cpus(), help="of the engine")
    parser.add_argument("--busy", type=int, nargs="+", default=[0, 1, 2], help="how many busy processes run beside it")
    parser.add_argument(
        "--settings", nargs="+", choices=[*ONNX, *GGUF], help="what is tried; default: all of the backend"
    )
    parser.add_argument("--cases", nargs="+", default=list(CASES), choices=list(CASES), help="how texts come")
    parser.add_argument("--rounds", type=int, default=3, help="how often each is measured")


def run(args: argparse.Namespace) -> Report:
    """Let the settings take turns."""
    table = Table("beside", "texts", "threads that wait", "wall, s", "CPU, s", "p50 ms", "p99 ms")
    figures: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as scratch, ExitStack() as stack:
        model, known = args.model or made(args.backend, Path(scratch)), SETTINGS[args.backend]
        start = partial(Worker, "threads", args.backend, model, args.threads)
        workers = {name: stack.enter_context(start(json.dumps(known[name]))) for name in args.settings or known}
        short = [" ".join(text.split()[:16]) for text in texts(300)]
        for busy in args.busy:
            for case in args.cases:
                count, pause = CASES[case]
                request = {"texts": short[:count], "pause": pause}
                with beside(busy):
                    calls = {name: partial(worker.ask, request) for name, worker in workers.items()}
                    answers = alternate(calls, args.rounds, rest=0.05)
                for name, rounds in answers.items():
                    figures.append(_row(table, busy, case, name, rounds))
    return Report([table], {"runs": figures})


def made(backend: str, scratch: Path) -> str:
    """Convert all-MiniLM-L6-v2 for a backend -> its reference."""
    level = LEVELS[backend]
    return f"{convert(minilm(), scratch, [level], name='all-MiniLM-L6-v2')[0]}:{level.partition(':')[2]}"


def _row(table: Table, busy: int, case: str, name: str, rounds: Sequence[Answer]) -> dict[str, Any]:
    seconds = median(answer.seconds for answer in rounds)
    late = {key: statistics.median(answer.details.get(key, 0) for answer in rounds) for key in ("p50", "p99")}
    cells = f"{seconds.wall:.2f}", f"{seconds.cpu:.2f}", *(f"{1e3 * one:.1f}" if one else "" for one in late.values())
    table.add(str(busy), case, name, *cells)
    progress(busy, case, name, *cells)
    return {"busy": busy, "case": case, "setting": name, "wall": seconds.wall, "cpu": seconds.cpu, **late}


@contextmanager
def beside(busy: int) -> Iterator[None]:
    """Keep so many processes computing."""
    others = [subprocess.Popen([sys.executable, "-c", SPIN]) for _ in range(busy)]
    try:
        yield
    finally:
        for other in others:
            other.kill()
            other.wait()
