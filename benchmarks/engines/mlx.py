"""Embeds token ids with MLX, through edge_embed's backend or mlx-embeddings, for speed.mlx.

    python -m benchmarks.engines.mlx edge|peer|peer-sorted CHECKPOINT BATCH

A request is a list of texts as token ids. The answer's details are the first vector and the resident memory in MB.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.worker import memory_mb, serve

Ids = list[list[int]]


def edge(folder: Path) -> Callable[[Ids], Any]:
    """Open the checkpoint with our backend and batch as the pipeline does."""
    from edge_embed.backends import Batch
    from edge_embed.backends.mlx.backend import load
    from edge_embed.layouts.folder import read_folder
    from edge_embed.pipeline.batches import make_batches
    from edge_embed.pipeline.pooling import pool
    from edge_embed.selection.choose import BATCH_TOKENS
    from edge_embed.spec.weights import File, Weights
    from edge_embed.vectors import normalize

    spec = read_folder(folder).spec
    backend = load(folder, spec, Weights(format="mlx", level="float32", files=(File(path="model.safetensors"),)), 1)

    def run(ids: Ids) -> Any:
        out = np.empty((len(ids), spec.dim), np.float32)
        for rows in make_batches([len(row) for row in ids], BATCH_TOKENS):
            batch = Batch([np.array(ids[n], np.int32) for n in rows])
            out[rows] = [pool(states, spec.pooling) for states in backend.forward(batch)]
        return normalize(out)

    return run


def peer(folder: Path, size: int, by_length: bool) -> Callable[[Ids], Any]:
    """Open the checkpoint with mlx-embeddings, in batches of one size."""
    import mlx.core as mx
    from mlx_embeddings.utils import load_model

    model = load_model(folder)

    def run(ids: Ids) -> Any:
        order = sorted(range(len(ids)), key=lambda n: len(ids[n])) if by_length else list(range(len(ids)))
        out: dict[int, Any] = {}
        for start in range(0, len(ids), size):
            rows = order[start : start + size]
            width = max(len(ids[n]) for n in rows)
            values = mx.array([ids[n] + [0] * (width - len(ids[n])) for n in rows])
            mask = mx.array([[1] * len(ids[n]) + [0] * (width - len(ids[n])) for n in rows])
            out |= dict(zip(rows, np.array(model(values, attention_mask=mask).text_embeds), strict=True))
        return np.stack([out[n] for n in range(len(ids))])

    return run


def main() -> None:
    """Load the engine and serve."""
    engine, folder, size = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])
    serve(
        edge(folder) if engine == "edge" else peer(folder, size, engine == "peer-sorted"),
        details=lambda ids, vectors: {"vector": vectors[0].tolist(), "resident_mb": memory_mb("VmRSS")},
    )


if __name__ == "__main__":
    main()
