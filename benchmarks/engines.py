"""One engine in one process: loads a model, then embeds the same texts whenever it is told, and says how long it took.

    python benchmarks/engines.py ENGINE MODEL TEXTS.json [BATCH_TOKENS]

Commands come on standard input, one JSON line goes back for each. Engines: edge (edge_embed; MODEL may end in :int8),
torch, onnx (sentence-transformers' backends). Each keeps to itself
what it imports, so peers may run in another virtual environment.
"""

from __future__ import annotations

import json
import sys
import time
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any


def load(engine: str, model: str, batch_tokens: int | None) -> Callable[[list[str]], Any]:
    """Return a function that embeds texts to unit vectors; by default the engine batches as it likes."""
    if engine == "edge":
        from edge_embed import Embedder

        return partial(Embedder(model).encode, batch_tokens=batch_tokens)
    from sentence_transformers import SentenceTransformer

    extra = {"backend": engine} if engine != "torch" else {}
    peer = SentenceTransformer(model, device="cpu", **extra)
    return lambda texts: peer.encode(texts, normalize_embeddings=True)


def peak_memory() -> float:
    """Return this process's peak resident memory in MB, from Linux; getrusage would tell the parent's if larger."""
    (line,) = (line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) / 1024


def main() -> None:
    """Obey `run` (embed all texts) and `first` (embed one) until standard input ends."""
    warnings.simplefilter("ignore")
    engine, model, path, *batch_tokens = sys.argv[1:]
    encode = load(engine, model, int(batch_tokens[0]) if batch_tokens else None)
    texts = json.loads(Path(path).read_text("utf-8"))
    for line in sys.stdin:
        start = time.perf_counter()
        vectors = encode(texts if line.strip() == "run" else texts[:1])
        answer = {"seconds": time.perf_counter() - start, "memory": peak_memory(), "first": vectors[0].tolist()}
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
