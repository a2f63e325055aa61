"""Embeds texts with one of the engines that run GGUF files, for speed.gguf.

    python -m benchmarks.engines.gguf edge|alone|llama|server MODEL.gguf THREADS [PATH_OF_LLAMA_SERVER]

A request is {"texts": [...], "save": where to write the vectors, or null}.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.worker import serve

Embed = Callable[[list[str]], Any]
BATCH = 2048  # tokens; what the other engines may take at once


def edge(path: str, threads: int) -> Embed:
    """Open the file with edge_embed."""
    from edge_embed import Embedder

    return Embedder(path, threads=threads).encode


def alone(path: str, threads: int) -> Embed:
    """Open the file with edge_embed, and give llama.cpp one text a call."""
    from edge_embed import Embedder

    return partial(Embedder(path, threads=threads).encode, batch_tokens=1)


def llama(path: str, threads: int) -> Embed:
    """Open the file with llama-cpp-python's own class, flash attention on."""
    from llama_cpp import Llama

    model = Llama(
        path,
        embedding=True,
        n_ctx=BATCH,
        n_batch=BATCH,
        n_ubatch=BATCH,
        n_threads=threads,
        n_threads_batch=threads,
        flash_attn=True,
        verbose=False,
    )
    return lambda texts: model.embed(texts, normalize=True)


@contextmanager
def server(path: str, threads: int, binary: str) -> Iterator[tuple[Embed, int]]:
    """Run llama-server with its defaults and a batch as large as the others' -> a function that embeds, and its id."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    size = [str(BATCH)]
    words = ["-m", path, "-t", str(threads), "--port", str(port), "-b", *size, "-ub", *size, "-c", "8192"]
    command = [binary, *words, "--embedding"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        address = f"http://127.0.0.1:{port}"
        wait_for(f"{address}/health")
        yield lambda texts: request(f"{address}/v1/embeddings", texts), process.pid
    finally:
        process.terminate()
        process.wait()


def wait_for(address: str) -> None:
    """Wait until a page answers, a minute at most."""
    for _ in range(600):
        try:
            urllib.request.urlopen(address)
            return
        except OSError:
            time.sleep(0.1)


def request(address: str, texts: list[str]) -> list[list[float]]:
    """Send all texts in one request of OpenAI's form -> their vectors, in order."""
    body = json.dumps({"input": texts}).encode()
    post = urllib.request.Request(address, body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(post) as answer:
        rows = json.load(answer)["data"]
    return [row["embedding"] for row in sorted(rows, key=lambda row: row["index"])]


def cpu_seconds(pid: int) -> float:
    """Return the CPU time that another process has taken, from Linux."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    user, system = fields[11:13]  # utime and stime, the 14th and 15th of proc(5); two stand before the bracket
    return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")


def save(order: Mapping[str, Any], vectors: Any) -> dict[str, Any]:
    """Write the vectors where the request wants them."""
    if order["save"]:
        np.save(order["save"], np.asarray(vectors, np.float32))
    return {}


def main() -> None:
    """Load the engine and serve."""
    engine, path, threads = sys.argv[1], sys.argv[2], int(sys.argv[3])
    if engine == "server":
        with server(path, threads, sys.argv[4]) as (embed, pid):
            serve(embed, prepare=lambda order: order["texts"], details=save, cpu_clock=lambda: cpu_seconds(pid))
        return
    embed = {"edge": edge, "alone": alone, "llama": llama}[engine](path, threads)
    serve(embed, prepare=lambda order: order["texts"], details=save)


if __name__ == "__main__":
    main()
