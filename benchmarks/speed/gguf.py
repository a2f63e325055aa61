"""edge_embed, Llama.embed and llama-server on the same GGUF file, the same threads and the same texts, taking turns.

    python -m benchmarks speed.gguf nano-Q8_0.gguf nano-Q4_K_M.gguf --server PATH/llama-server
    python -m benchmarks speed.gguf nano-Q8_0.gguf --alone      edge_embed itself, with one text a call of llama.cpp
    python -m benchmarks speed.gguf nano-Q8_0.gguf --onnx       edge_embed itself, on what it makes of the file for ONNX
    python -m benchmarks speed.gguf nano-Q8_0.gguf --query      one query over a bare llama_decode, memory, load time

Texts in, vectors out, tokenisation included; medians over the rounds after one that warms up. models.gguf makes files
at the real shapes.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Mapping
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.inputs import texts
from benchmarks.report import Report, Table, progress
from benchmarks.timing import alternate, median
from benchmarks.worker import Worker, run_once
from edge_embed.device.machine import usable_cpus


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    add = parser.add_argument
    add("models", nargs="+", type=Path, help="GGUF files")
    add("--server", help="llama-server, built from the pinned package's own sources")
    add("--texts", type=int, default=500, help="how many texts")
    add("--longest", type=int, default=1500, help="characters of the longest text")
    add("--rounds", type=int, default=3, help="how often each engine is measured")
    add("--threads", type=int, default=usable_cpus(), help="of every engine")
    add("--alone", action="store_true", help="compare with edge_embed computing each text alone, not with the others")
    add("--onnx", action="store_true", help="compare with the same weights at ONNX int8, not with the others")
    add("--query", action="store_true", help="measure one query of edge_embed by itself instead")


def run(args: argparse.Namespace) -> Report:
    """Measure the engines on every file."""
    if args.query:
        return queries(args.models, args.threads)
    table = Table("file", "engine", "texts/s", "ratio to edge_embed", "s", "CPU s", "least cosine to edge_embed")
    results = {}
    for path in args.models:
        results[path.stem] = rows = compare(path, args)
        for name, row in rows.items():
            ratio = row["texts_s"] / rows["edge_embed"]["texts_s"]
            seconds = f"{row['wall_s']:.2f}", f"{row['cpu_s']:.2f}"
            cells = f"{row['texts_s']:.1f}", f"{ratio:.2f}", *seconds, f"{row['least_cosine']:.5f}"
            table.add(path.stem, name, *cells)
            progress(path.stem, name, *cells)
    return Report([table], {"files": results})


def compare(path: Path, args: argparse.Namespace) -> dict[str, dict[str, Any]]:
    """Measure the engines on one file."""
    inputs = texts(args.texts, longest=args.longest)
    order = {"texts": inputs, "save": None}
    with tempfile.TemporaryDirectory() as scratch, ExitStack() as stack:
        arguments: dict[str, list[object]] = {"edge_embed": ["edge", path, args.threads]}
        if args.alone:
            arguments["each text alone"] = ["alone", path, args.threads]
        elif args.onnx:
            arguments["edge_embed, ONNX int8"] = ["edge", converted(path, Path(scratch)), args.threads]
        else:
            arguments["Llama.embed"] = ["llama", path, args.threads]
        if args.server:
            arguments["llama-server"] = ["server", path, args.threads, args.server]
        workers = {name: stack.enter_context(Worker("gguf", *words)) for name, words in arguments.items()}
        vectors = warm_up(workers, inputs[: max(8, len(inputs) // 8)])
        calls = {name: partial(worker.ask, order) for name, worker in workers.items()}
        answers = alternate(calls, args.rounds, warm_up=0)
    rows: dict[str, dict[str, Any]] = {}
    for name, rounds in answers.items():
        seconds = median(answer.seconds for answer in rounds)
        rows[name] = {
            "texts_s": len(inputs) / seconds.wall,
            "seconds": [answer.seconds.wall for answer in rounds],
            "wall_s": seconds.wall,
            "cpu_s": seconds.cpu,
            # llama-server is a process of its own, which the worker that talks to it cannot measure
            "peak_mb": None if name == "llama-server" else rounds[-1].peak_mb,
            "least_cosine": float((vectors[name] * vectors["edge_embed"]).sum(axis=1).min()),
        }
    return rows


def converted(path: Path, out: Path) -> Path:
    """Convert a file to ONNX int8, whatever random weights lose by it -> the folder."""
    from edge_embed_convert import convert

    progress(path.stem, "is converted")
    made: list[Path] = convert(path, out, ["onnx:int8"], accept_loss=True)
    return made[0]


def warm_up(workers: Mapping[str, Worker], inputs: list[str]) -> dict[str, NDArray[np.float32]]:
    """Embed a few texts with every engine -> their vectors."""
    vectors = {}
    with tempfile.TemporaryDirectory() as scratch:
        for name, worker in workers.items():
            path = Path(scratch) / f"{name}.npy"
            worker.ask({"texts": inputs, "save": str(path)})
            vectors[name] = np.load(path)
    return vectors


def queries(models: list[Path], threads: int) -> Report:
    """Measure one query on every file."""
    table = Table("file", "load, s", "query, ms", "bare call, ms", "grown by a query, MB", "8,192 tokens, MB", "s")
    results = {}
    for path in models:
        (row,) = run_once("gguf_query", path, threads)
        results[path.stem] = row
        times = f"{row['load_s']:.2f}", f"{row['query_ms']:.1f}", f"{row['bare_ms']:.1f}"
        table.add(path.stem, *times, *(f"{grown:.0f}" for grown in row["grown_mb"].values()), f"{row['long_s']:.1f}")
    return Report([table], {"queries": results})
