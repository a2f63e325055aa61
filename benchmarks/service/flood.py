"""Far more requests than the machine can answer: each must get its own vector or a 429, and memory must stay flat.

    python -m benchmarks service.flood                                   all-MiniLM-L6-v2 int8, 100,000 requests
    python -m benchmarks service.flood --requests 1000000 --connections 256 --max-wait 1

The clients do not heed Retry-After: whoever is sent away asks again at once.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import json
import tempfile
import urllib.request
from pathlib import Path

from benchmarks.inputs import minilm, texts
from benchmarks.report import Report, Table, progress
from edge_embed import Embedder
from edge_embed_convert import convert

from .client import drive, request_body
from .servers import Server, edge_embed, started

SHARE = 10  # parts after each of which memory is looked at


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("--model", help="a reference with its level; default: all-MiniLM-L6-v2 int8, converted here")
    parser.add_argument("--requests", type=int, default=100_000, help="how many requests, of one text each")
    parser.add_argument("--connections", type=int, default=128, help="how many are open at a time")
    parser.add_argument("--max-wait", default="1", help="seconds that the server lets a request wait")


def run(args: argparse.Namespace) -> Report:
    """Send all requests in ten parts, and look at the memory after each."""
    corpus = texts(200)
    with tempfile.TemporaryDirectory() as scratch:
        model = args.model or f"{convert(minilm(), Path(scratch), ['onnx:int8'], name='all-MiniLM-L6-v2')[0]}:int8"
        with Embedder(model) as embedder:
            expected = [vector.astype("<f4").tobytes() for vector in embedder.encode(corpus)]
        bodies = [request_body("model", text, "base64") for text in corpus]

        def check(number: int, body: bytes) -> bool:
            vector = base64.b64decode(json.loads(body)["data"][0]["embedding"])
            return vector == expected[number % len(corpus)]

        with started(edge_embed(model, "--max-wait", args.max_wait)) as server:
            table = Table("requests", "200", "429", "others", "wrong", "s", "resident MB", "server's CPU s")
            part, total = [bodies[n % len(corpus)] for n in range(args.requests // SHARE)], 0
            figures = []
            for _ in range(SHARE):
                before = server.cpu()
                outcome = asyncio.run(drive(server.port, "/v1/embeddings", part, args.connections, check))
                total += len(part)
                ours, full = outcome.statuses[200], outcome.statuses[429]
                others, resident = outcome.statuses.total() - ours - full, server.resident()
                cells = [f"{n:,}" for n in (total, ours, full, others, outcome.wrong)]
                table.add(*cells, f"{outcome.wall:.1f}", f"{resident / 1e6:.1f}", f"{server.cpu() - before:.1f}")
                progress(*cells, f"{outcome.wall:.1f} s", f"{resident / 1e6:.1f} MB")
                figures.append({"ok": ours, "full": full, "wrong": outcome.wrong, "resident": resident})
            left = _gauges(server)
    title = f"{args.requests:,} requests over {args.connections} connections, --max-wait {args.max_wait}"
    return Report([title, table, f"left in the queue: {left}"], {"parts": figures, "left": left})


def _gauges(server: Server) -> dict[str, float]:
    """Return what the server says of its queue."""
    with urllib.request.urlopen(f"http://127.0.0.1:{server.port}/metrics") as answer:
        lines = answer.read().decode().splitlines()
    return {
        line.partition("{")[0].partition(" ")[0]: float(line.rpartition(" ")[2])
        for line in lines
        if line.startswith("edge_embed_queue_") and "_duration_" not in line
    }
