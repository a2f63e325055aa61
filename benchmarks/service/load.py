"""The service under load over loopback: singles at several connections, and beside one bulk request; against peers.

    python -m benchmarks service.load                                    all-MiniLM-L6-v2 int8, 1, 8 and 64 connections
    python -m benchmarks service.load --model FOLDER:int8 --name nano    any model
    python -m benchmarks service.load --llama-server BINARY --gguf FILE --fastapi PYTHON     peers that are installed
    python -m benchmarks service.load --infinity BINARY      infinity-emb, with transformers 4

Servers take turns, each alone on the machine while it is measured. CPU is that of the server's process, and compared
with Embedder in a process of its own: text by text, and all in one call.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import tempfile
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from benchmarks.inputs import minilm, texts
from benchmarks.report import Report, Table, progress
from benchmarks.timing import Seconds, alternate, median, timed
from edge_embed import Embedder
from edge_embed_convert import convert

from .client import Outcome, drive, request_body
from .servers import Server, edge_embed, fastapi, infinity, llama_server, started

PATH = "/v1/embeddings"
BULK = 1000


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("--model", help="a reference with its level; default: all-MiniLM-L6-v2 int8, converted here")
    parser.add_argument("--checkpoint", type=Path, help="its original, for sentence-transformers; default: MiniLM's")
    parser.add_argument("--name", default="all-MiniLM-L6-v2", help="what the table calls the model")
    parser.add_argument("--texts", type=int, default=600, help="how many single texts a run sends")
    parser.add_argument("--bulk", type=int, default=BULK, help="texts of the bulk request")
    parser.add_argument("--connections", type=int, nargs="+", default=[1, 8, 64], help="how many send at a time")
    parser.add_argument("--rounds", type=int, default=3, help="how often each is measured")
    parser.add_argument("--llama-server", help="the binary of llama-server, to compare with")
    parser.add_argument("--gguf", type=Path, help="the model for llama-server")
    parser.add_argument("--pooling", default="mean", help="what llama-server pools")
    parser.add_argument("--infinity", help="the binary of infinity_emb, to compare with")
    parser.add_argument("--fastapi", help="an interpreter that has FastAPI and sentence-transformers, to compare with")


def run(args: argparse.Namespace) -> Report:
    """Start the servers and let them take turns."""
    with tempfile.TemporaryDirectory() as scratch, ExitStack() as stack:
        checkpoint = args.checkpoint or minilm()
        model = args.model or f"{convert(checkpoint, Path(scratch), ['onnx:int8'], name='all-MiniLM-L6-v2')[0]}:int8"
        corpus = _that_fit(model, args.texts)
        commands = {"edge_embed": edge_embed(model)}
        if args.llama_server:
            commands["llama-server"] = llama_server(args.llama_server, args.gguf, args.pooling)
        if args.infinity:
            commands["infinity"] = infinity(args.infinity, checkpoint)
        if args.fastapi:
            commands["FastAPI + sentence-transformers"] = fastapi(args.fastapi, checkpoint, Path(scratch))
        servers = {name: stack.enter_context(started(command)) for name, command in commands.items()}
        alone, together = _in_process(model, corpus, args.rounds)
        table = Table("server", "connections", "texts/s", "p50 ms", "p99 ms", "CPU ms a text", "/ one by one", "/ all")
        figures: dict[str, Any] = {"alone_cpu_ms": alone * 1e3, "together_cpu_ms": together * 1e3, "runs": []}
        for connections in args.connections:
            calls = {name: _singles(server, corpus, connections) for name, server in servers.items()}
            for name, runs in alternate(calls, args.rounds).items():
                figures["runs"].append(_row(table, name, connections, runs, alone, together))
        beside = Table("server", f"{args.bulk} texts, s", "singles p50 ms", "p99 ms", "max ms")
        for name, server in servers.items():
            _beside(beside, figures, name, server, corpus, args.bulk)
        resident = {name: server.resident() for name, server in servers.items()}
    figures["resident"] = resident
    title = f"{args.name}: {args.texts} single texts a run, medians of {args.rounds} runs"
    reference = (
        f"Embedder in a process of its own, CPU ms a text: one by one {alone * 1e3:.2f}, all {together * 1e3:.2f}"
    )
    held = ", ".join(f"{name} {size / 1e6:,.0f} MB" for name, size in resident.items())
    return Report([title, table, reference, beside, f"resident after it: {held}"], figures)


def _that_fit(model: str, count: int) -> list[str]:
    """Return texts that the model takes whole: llama-server refuses others."""
    with Embedder(model) as embedder:
        found = texts(2 * count)
        return [text for text, tokens in zip(found, embedder.count_tokens(found), strict=True) if not tokens.cut][
            :count
        ]


def _in_process(model: str, corpus: Sequence[str], rounds: int) -> tuple[float, float]:
    """Return the CPU seconds a text of Embedder: one text a call, and all in one."""
    with Embedder(model) as embedder:
        calls: dict[str, Callable[[], Seconds]] = {
            "alone": lambda: timed(lambda: [embedder.encode(text) for text in corpus])[1],
            "all": lambda: timed(lambda: embedder.encode(corpus))[1],
        }
        measured = alternate(calls, rounds)
    alone, together = (median(measured[name]).cpu / len(corpus) for name in calls)
    return alone, together


def _singles(server: Server, corpus: Sequence[str], connections: int) -> Callable[[], tuple[Outcome, float]]:
    bodies = [request_body(server.model, text) for text in corpus]

    def call() -> tuple[Outcome, float]:
        before = server.cpu()
        outcome = asyncio.run(drive(server.port, PATH, bodies, connections))
        assert outcome.statuses == {200: len(bodies)}, outcome.statuses
        return outcome, (server.cpu() - before) / len(bodies)

    return call


def _row(
    table: Table, name: str, connections: int, runs: Sequence[tuple[Outcome, float]], alone: float, together: float
) -> dict[str, Any]:
    rate = statistics.median(len(outcome.seconds) / outcome.wall for outcome, _ in runs)
    p50, p99 = (statistics.median(outcome.quantile(share) for outcome, _ in runs) for share in (0.5, 0.99))
    cpu = statistics.median(cpu for _, cpu in runs)
    cells = f"{rate:,.0f}", f"{p50 * 1e3:.1f}", f"{p99 * 1e3:.1f}", f"{cpu * 1e3:.2f}"
    table.add(name, str(connections), *cells, f"{cpu / alone:.2f}", f"{cpu / together:.2f}")
    progress(name, connections, *cells)
    return {"server": name, "connections": connections, "texts_per_s": rate, "p50": p50, "p99": p99, "cpu": cpu}


def _beside(table: Table, figures: dict[str, Any], name: str, server: Server, corpus: Sequence[str], bulk: int) -> None:
    """Send singles, one after the other over two connections, while one large request is computed."""
    many = [corpus[n % len(corpus)] for n in range(bulk)]

    async def both() -> tuple[float, Outcome]:
        large = asyncio.create_task(drive(server.port, PATH, [request_body(server.model, many)], 1))
        outcome, number = Outcome(), 0
        while not large.done():
            one = await drive(server.port, PATH, [request_body(server.model, corpus[number % len(corpus)])], 1)
            outcome.seconds += one.seconds
            number += 1
        done = await large
        assert done.statuses == {200: 1}, done.statuses
        return done.wall, outcome

    seconds, singles = asyncio.run(both())
    cells = [f"{value * 1e3:.0f}" for value in (singles.quantile(0.5), singles.quantile(0.99), singles.quantile(1))]
    table.add(name, f"{seconds:.1f}", *cells)
    figures.setdefault("beside", {})[name] = {"bulk": seconds, "singles": singles.seconds}
    progress(name, "beside", f"{seconds:.1f}", *cells)
