"""One engine in one process for gguf_speed.py: reads lists of texts, embeds them, says how long it took.

python benchmarks/gguf_engines.py edge|llama|server MODEL.gguf THREADS [llama-server's path]
python benchmarks/gguf_engines.py query MODEL.gguf THREADS          one query against a bare llama_decode; memory; load
"""

from __future__ import annotations

import ctypes
import json
import re
import socket
import statistics
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Embed = Callable[[list[str]], Any]
BATCH = 2048  # tokens; what the other engines may take at once
TURNS = 40


def edge(path: str, threads: int) -> Embed:
    """Open the file with edge_embed."""
    from edge_embed import Embedder

    return Embedder(path, threads=threads).encode


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


def server(path: str, threads: int, binary: str) -> Embed:
    """Start llama-server with its defaults and a batch as large as the others'; texts go to it in one request."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    size = [str(BATCH)]
    words = ["-m", path, "-t", str(threads), "--port", str(port), "-b", *size, "-ub", *size, "-c", "8192"]
    subprocess.Popen([binary, *words, "--embedding"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    address = f"http://127.0.0.1:{port}"
    for _ in range(600):
        try:
            urllib.request.urlopen(f"{address}/health")
            break
        except OSError:
            time.sleep(0.1)

    def run(texts: list[str]) -> Any:
        body = json.dumps({"input": texts}).encode()
        request = urllib.request.Request(f"{address}/v1/embeddings", body, {"Content-Type": "application/json"})
        with urllib.request.urlopen(request) as answer:
            data = json.load(answer)["data"]
        return [one["embedding"] for one in sorted(data, key=lambda one: one["index"])]

    return run


def memory() -> float:
    """Return the process's own memory in MB, without pages of files."""
    return int(re.findall(r"RssAnon:\s+(\d+)", Path("/proc/self/status").read_text())[0]) / 1024


def peak() -> float:
    """Return the largest resident size so far in MB."""
    return int(re.findall(r"VmHWM:\s+(\d+)", Path("/proc/self/status").read_text())[0]) / 1024


def query(path: str, threads: int) -> None:
    """Print what one query costs: time over a bare call, memory of 20 and 8,192 tokens, time to load."""
    from edge_embed.backends import Batch
    from edge_embed.backends.gguf.backend import GgufBackend
    from edge_embed.layouts.folder import read_folder

    spec = read_folder(Path(path)).spec
    rng = np.random.default_rng(0)
    ids = rng.integers(300, 9000, 20).astype(np.int32)
    backend = GgufBackend(Path(path), spec, threads)
    before = memory()
    backend.forward(Batch([ids]))
    grown = {"20": memory() - before}
    ours, bare = [], []
    call = bare_call(path, threads, ids)
    for _ in range(TURNS):
        for run, seconds in ((lambda: backend.forward(Batch([ids])), ours), (call, bare)):
            start = time.perf_counter()
            run()
            seconds.append(time.perf_counter() - start)
    before = memory()
    start = time.perf_counter()
    backend.forward(Batch([rng.integers(300, 9000, min(8192, spec.max_tokens)).astype(np.int32)]))
    grown["8192"] = memory() - before
    long = time.perf_counter() - start
    loads = []
    for _ in range(3):
        backend.close()
        start = time.perf_counter()
        backend = GgufBackend(Path(path), spec, threads)
        loads.append(time.perf_counter() - start)
    result = {
        "load_s": statistics.median(loads),
        "query_ms": 1e3 * statistics.median(ours),
        "bare_ms": 1e3 * statistics.median(bare),
        "least_ms": [1e3 * min(ours), 1e3 * min(bare)],
        "grown_mb": grown,
        "peak_mb": peak(),
        "long_s": long,
    }
    print(json.dumps(result), flush=True)


def bare_call(path: str, threads: int, ids: NDArray[np.int32]) -> Callable[[], object]:
    """Return what runs these ids through llama_decode in a context of just their size, and nothing else."""
    import llama_cpp

    model = llama_cpp.llama_model_load_from_file(path.encode(), llama_cpp.llama_model_default_params())
    params = llama_cpp.llama_context_default_params()
    params.n_ctx = params.n_batch = params.n_ubatch = 64
    params.n_threads = params.n_threads_batch = threads
    params.embeddings, params.pooling_type, params.no_perf = True, llama_cpp.LLAMA_POOLING_TYPE_NONE, True
    context = llama_cpp.llama_init_from_model(model, params)
    batch = llama_cpp.llama_batch_init(len(ids), 0, 1)
    batch.n_tokens = len(ids)
    for n, token in enumerate(ids):
        batch.token[n], batch.pos[n], batch.n_seq_id[n], batch.seq_id[n][0], batch.logits[n] = int(token), n, 1, 0, 1

    def run() -> object:
        if store := llama_cpp.llama_get_memory(context):
            llama_cpp.llama_memory_clear(store, False)
        llama_cpp.llama_decode(context, batch)
        return ctypes.addressof(llama_cpp.llama_get_embeddings(context).contents)

    return run


def main() -> None:
    """Answer one line for each line of standard input: {"texts": [...], "save": a path or null}."""
    engine, path, threads = sys.argv[1], sys.argv[2], int(sys.argv[3])
    if engine == "query":
        return query(path, threads)
    run = (
        {"edge": edge, "llama": llama}[engine](path, threads)
        if engine != "server"
        else server(path, threads, sys.argv[4])
    )
    print(json.dumps({"ready": True}), flush=True)
    for line in sys.stdin:
        order = json.loads(line)
        start = time.perf_counter()
        vectors = run(order["texts"])
        seconds = time.perf_counter() - start
        if order["save"]:
            np.save(order["save"], np.asarray(vectors, np.float32))
        print(json.dumps({"seconds": seconds, "peak": peak()}), flush=True)


if __name__ == "__main__":
    main()
