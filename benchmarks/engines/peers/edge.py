"""edge_embed."""

from __future__ import annotations

from typing import Any

from benchmarks.engines.peers import Engine


def load(model: str, threads: int, backend: Any = "auto") -> Engine:
    """Open a folder, MODEL:LEVEL or a GGUF file."""
    from edge_embed import Embedder

    return Engine(Embedder(model, threads=threads, backend=backend).encode)
