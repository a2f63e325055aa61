"""One architecture's graph at one level -> an ONNX file with its weights in a data file beside it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import onnx

from edge_embed import architectures
from edge_embed.spec.model import Pooling
from edge_embed.spec.weights import Part

from ..checkpoint.smooth import Pair
from ..checkpoint.source import Array
from . import graphs
from .builder import Builder


def graph_of(model_type: str) -> ModuleType:
    """Return the file of an architecture's graph; raise UnsupportedModelError, listing those that exist."""
    return architectures.implementation(graphs.__name__, model_type, "has no ONNX graph; there are {known}")


def write_graph(
    config: Mapping[str, Any],
    tensors: Mapping[str, Array],
    level: str,
    path: Path,
    pooling: Pooling,
    *,
    part: Part = "text",
    taps: bool = False,
) -> dict[str, str]:
    """Write the graph of a part, "text" or "image" -> what each linear layer reads, by the layer's name.

    With `taps`, three more outputs for each value X that a linear layer reads: X.sum, its squares summed over tokens,
    X.peak, its largest magnitude (both (in,)), and X.rows, its sizes before the last.
    """
    graph, known = graph_of(config["model_type"]), architectures.architecture(config["model_type"])
    data = data_file(path)
    with data.open("wb") as file:
        builder = Builder(level, file, data.name)
        if part == "image":
            image = known.read_image(config)
            out, row = graph.build_image(builder, image, tensors)
            model = builder.finish(out, row, architectures.dim(config), (image.image_size, image.image_size))
        else:
            hidden, rows = graph.build(builder, known.read(config), tensors, pooling)
            if taps:
                builder.tap_linears()
            model = builder.finish(hidden, rows, architectures.dim(config))
    onnx.save(model, path)
    return dict(builder.linears)


def smooth_pairs(config: Mapping[str, Any], tensors: Mapping[str, Array]) -> list[Pair]:
    """List what makes the channels that the text part's linear layers read; nothing where that cannot be moved."""
    model_type = config["model_type"]
    pairs: list[Pair] = graph_of(model_type).smooth_pairs(architectures.architecture(model_type).read(config), tensors)
    return pairs


def data_file(path: Path) -> Path:
    """Return where the weights of a graph lie."""
    return path.with_name(path.name + "_data")
