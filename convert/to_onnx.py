"""A checkpoint -> an ONNX graph at one level, in `onnx/` of a folder, smoothed where activations are quantised."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from edge_embed.repo import ONNX_NAMES
from edge_embed.spec import Pooling

from .calibrate import Moments
from .onnx_file import architecture, data_file, write_graph
from .smooth import Smoothed
from .source import Array

SMOOTHED = ("int8",)  # int4 rounds activations in blocks of 32, where smoothing gained nothing on the miniatures


def to_onnx(
    config: Mapping[str, Any],
    tensors: Mapping[str, Array],
    level: str,
    folder: Path,
    *,
    pooling: Pooling,
    moments: Mapping[str, Moments] | None = None,
) -> list[Path]:
    """Write the graph at a level, computing what the pooling needs -> its files, the one to open first.

    `moments` come from calibrate(); without them nothing is smoothed.
    """
    path = folder / "onnx" / ONNX_NAMES[level][0]
    path.parent.mkdir(parents=True, exist_ok=True)
    if moments is not None and level in SMOOTHED:
        tensors = Smoothed(tensors, architecture(config["model_type"]).smooth_pairs(config, tensors), moments)
    write_graph(config, tensors, level, path, pooling)
    return [path, data_file(path)]
