"""Measures one query in the GGUF backend against a bare llama_decode, memory, and loading, for speed.gguf --query.

python -m benchmarks.engines.gguf_query MODEL.gguf THREADS
"""

from __future__ import annotations

import ctypes
import json
import statistics
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import llama_cpp
import numpy as np
from numpy.typing import NDArray

from benchmarks.timing import alternate, timed
from benchmarks.worker import memory_mb, peak_mb
from edge_embed.backends import Batch
from edge_embed.backends.gguf.backend import GgufBackend
from edge_embed.layouts.folder import read_folder
from edge_embed.spec.model import ModelSpec

TURNS = 40
LOADS = 3
QUERY, LONG = 20, 8192  # tokens
Ids = NDArray[np.int32]


def query(path: Path, threads: int) -> dict[str, Any]:
    """Measure a query's time over a bare call, memory of 20 and 8,192 tokens, and the time to load."""
    spec = read_folder(path).spec
    rng = np.random.default_rng(0)
    ids = rng.integers(300, 9000, QUERY).astype(np.int32)
    backend = GgufBackend(path, spec, threads)
    grown = {str(QUERY): grows(backend, ids)}
    ours, bare = against_bare(backend, bare_call(path, threads, ids), ids)
    long_ids = rng.integers(300, 9000, min(LONG, spec.max_tokens)).astype(np.int32)
    grown[str(LONG)], long = timed(partial(grows, backend, long_ids))
    backend.close()
    return {
        "load_s": statistics.median(load(path, spec, threads) for _ in range(LOADS)),
        "query_ms": 1e3 * statistics.median(ours),
        "bare_ms": 1e3 * statistics.median(bare),
        "least_ms": [1e3 * min(ours), 1e3 * min(bare)],
        "grown_mb": grown,
        "peak_mb": peak_mb(),
        "long_s": long.wall,
    }


def grows(backend: GgufBackend, ids: Ids) -> float:
    """Embed a text -> by how much the process's own memory grew, in MB."""
    before = memory_mb("RssAnon")
    backend.forward(Batch([ids]))
    return memory_mb("RssAnon") - before


def against_bare(backend: GgufBackend, bare: Callable[[], object], ids: Ids) -> tuple[list[float], list[float]]:
    """Let the backend and the bare call take turns -> the seconds of each."""
    calls = {
        "ours": lambda: timed(partial(backend.forward, Batch([ids])))[1].wall,
        "bare": lambda: timed(bare)[1].wall,
    }
    seconds = alternate(calls, TURNS, warm_up=0)
    return seconds["ours"], seconds["bare"]


def load(path: Path, spec: ModelSpec, threads: int) -> float:
    """Open and close the model -> the seconds that opening took."""
    backend, seconds = timed(partial(GgufBackend, path, spec, threads))
    backend.close()
    return seconds.wall


def bare_call(path: Path, threads: int, ids: Ids) -> Callable[[], object]:
    """Return what runs these ids through llama_decode in a context of just their size, and nothing else."""
    model = llama_cpp.llama_model_load_from_file(str(path).encode(), llama_cpp.llama_model_default_params())
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


if __name__ == "__main__":
    print(json.dumps(query(Path(sys.argv[1]), int(sys.argv[2]))))
