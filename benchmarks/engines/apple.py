"""Embeds random token ids with MLX at one level, for speed.apple.

    python -m benchmarks.engines.apple FOLDER LEVEL FILE

FOLDER holds config.json and FILE. A request is a list of lengths in tokens. The answer's details are the peak of MLX's
own memory in MB.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import mlx.core as mx
import numpy as np

from benchmarks.models.mlx import spec_of
from benchmarks.worker import serve
from edge_embed.backends import Batch
from edge_embed.backends.mlx.backend import load
from edge_embed.spec.weights import File, Weights


def main() -> None:
    """Load the weights and serve."""
    folder, level, name = sys.argv[1:]
    config = json.loads((Path(folder) / "config.json").read_text())
    weights = Weights(format="mlx", level=level, files=(File(path=name),))
    backend = load(Path(folder), spec_of(config), weights, 1)
    mx.reset_peak_memory()
    rng = np.random.default_rng(0)
    serve(
        backend.forward,
        prepare=lambda lengths: Batch([rng.integers(4, 16000, length).astype(np.int32) for length in lengths]),
        details=lambda lengths, states: {"mlx_peak_mb": mx.get_peak_memory() / 1e6},
    )
    backend.close()


if __name__ == "__main__":
    main()
