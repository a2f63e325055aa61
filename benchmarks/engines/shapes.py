"""Embeds random token ids of the lengths it is asked for, for speed.shapes.

    python -m benchmarks.engines.shapes edge LEVEL FOLDER | edge-openvino LEVEL FOLDER
    python -m benchmarks.engines.shapes torch DTYPE FOLDER | openvino MODEL.xml FOLDER

A request is a list of lengths in tokens.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.worker import serve

Ids = list[np.ndarray[Any, np.dtype[np.int32]]]
Open = Callable[[str, Path], Callable[[Ids], object]]


def edge(level: str, folder: Path, engine: str = "onnx") -> Callable[[Ids], object]:
    """Open our graph through a backend, and batch as the pipeline does."""
    from edge_embed.backends import Batch, load
    from edge_embed.device.machine import usable_cpus
    from edge_embed.layouts.onnx import NAMES as ONNX_NAMES
    from edge_embed.layouts.onnx import PORTABLE
    from edge_embed.pipeline.batches import make_batches
    from edge_embed.selection.choose import BATCH_TOKENS
    from edge_embed.spec.model import ModelSpec
    from edge_embed.spec.weights import File, Weights

    spec = ModelSpec(name="shape", architecture="-", dim=1, max_tokens=1 << 17, pooling="last", normalize=True)
    name = ONNX_NAMES[level][0] if level in ONNX_NAMES else f"{level}.onnx"
    graph = File(path=f"onnx/{PORTABLE[level] if engine == 'openvino' else name}")
    backend = load(engine, folder, spec, Weights(format="onnx", level=level, files=(graph,)), usable_cpus())

    def run(ids: Ids) -> object:
        batches = make_batches([len(row) for row in ids], BATCH_TOKENS)
        return [backend.forward(Batch([ids[n] for n in batch])) for batch in batches]

    return run


def edge_on_openvino(level: str, folder: Path) -> Callable[[Ids], object]:
    """Open our graph in standard operators through OpenVINO."""
    return edge(level, folder, "openvino")


def pad(ids: Ids) -> tuple[Any, Any]:
    """Pad to the longest, on the right -> ids and mask."""
    width = max(map(len, ids))
    mask = np.array([[1] * len(row) + [0] * (width - len(row)) for row in ids])
    return np.array([[*row, *[0] * (width - len(row))] for row in ids]), mask


def torch(dtype: str, folder: Path) -> Callable[[Ids], object]:
    """Load transformers' model, batches of 32 sorted by length as sentence-transformers makes them."""
    import torch
    from transformers import AutoModel

    model = AutoModel.from_pretrained(folder, dtype=getattr(torch, dtype)).eval()

    def run(ids: Ids) -> object:
        values, mask = (torch.from_numpy(x) for x in pad(sorted(ids, key=len)))
        with torch.inference_mode():
            return model(input_ids=values, attention_mask=mask).last_hidden_state.float().numpy()

    return run


def openvino(path: str, folder: Path) -> Callable[[Ids], object]:
    """Compile an OpenVINO model with its defaults."""
    import openvino

    model = openvino.Core().compile_model(path, "CPU")

    def run(ids: Ids) -> object:
        values, mask = pad(sorted(ids, key=len))
        return model({"input_ids": values, "attention_mask": mask})[0]

    return run


def main() -> None:
    """Load the engine and serve."""
    engine, which, folder = sys.argv[1:]
    rng = np.random.default_rng(0)
    engines: dict[str, Open] = {"edge": edge, "edge-openvino": edge_on_openvino, "torch": torch, "openvino": openvino}
    serve(
        engines[engine](which, Path(folder)),
        prepare=lambda lengths: [rng.integers(4, 16000, length).astype(np.int32) for length in lengths],
    )


if __name__ == "__main__":
    main()
