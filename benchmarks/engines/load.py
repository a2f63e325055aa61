"""Opens one weight file and computes one text, with or without its hash beside, and prints the seconds; for speed.load.

python -m benchmarks.engines.load FILE SHA256 read|plain|hashed CACHE
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

import numpy as np

from edge_embed.backends import Batch, TextBackend, load
from edge_embed.device.machine import usable_cpus
from edge_embed.layouts.folder import ModelFolder
from edge_embed.layouts.listing import Listing
from edge_embed.loading.integrity import hashed_meanwhile
from edge_embed.spec.model import ModelSpec
from edge_embed.spec.weights import File, Format, Weights

CHUNK = 1 << 20


def open_and_run(model: ModelFolder, format: Format) -> TextBackend:
    """Load the weights, and compute a text of 16 tokens, for which all but the vocabulary is read."""
    backend = load(format, model.folder, model.spec, model.spec.weights[0], usable_cpus())
    backend.forward(Batch([np.arange(1, 17, dtype=np.int32)]))
    return backend


def main(path: Path, digest: str, mode: str, cache: Path) -> float:
    """Return the seconds that reading, or loading the file takes; imports do not count."""
    format: Format = "gguf" if path.suffix == ".gguf" else "onnx"
    __import__(f"edge_embed.backends.{format}.backend")
    hashed = path.with_name(f"{path.name}_data") if format == "onnx" else path
    files = (File(path=path.name), File(path=hashed.name, sha256=digest))
    weights = Weights(format=format, level="int8" if format == "onnx" else "Q4_K_M", files=files)
    spec = ModelSpec(
        name="shape",
        architecture="-",
        dim=dim_of(path),
        max_tokens=16,
        pooling="last",
        normalize=True,
        weights=(weights,),
    )
    model = ModelFolder(Listing.of(path.parent), spec)
    start = time.perf_counter()
    if mode == "read":
        with hashed.open("rb", buffering=0) as file:
            while file.read(CHUNK):
                pass
    elif mode == "plain":
        open_and_run(model, format)
    else:
        with hashed_meanwhile(model, [hashed.name], cache) as hashing:
            open_and_run(model, format)
            hashing.finish()
    return time.perf_counter() - start


def dim_of(path: Path) -> int:
    """Return the dimension that a GGUF file names; a graph's is not asked for."""
    if path.suffix != ".gguf":
        return 1
    from edge_embed.formats.gguf import read_header

    header = read_header(path)
    return header.whole(f"{header.architecture}.embedding_length")


if __name__ == "__main__":
    print(main(Path(sys.argv[1]), sys.argv[2], sys.argv[3], Path(sys.argv[4])))
