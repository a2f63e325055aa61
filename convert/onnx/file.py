"""One architecture's graph at one level -> an ONNX file with its weights in a data file beside it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import onnx

from edge_embed import architectures
from edge_embed.backends.onnx.names import ONE_ROW, POOLED
from edge_embed.formats.onnx import FUSED
from edge_embed.spec.model import Pooling
from edge_embed.spec.weights import Part

from ..checkpoint.smooth import Pair
from ..checkpoint.source import Array
from . import graphs
from .builder import Builder
from .portable import PortableBuilder

AddHead = Callable[[Builder, str], str]  # a graph's rows -> its texts' vectors, by name


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
    data = data_file(path)
    with data.open("wb") as file:
        builder = Builder(level, file, data.name)
        onnx.save(_build(builder, config, tensors, pooling, part, taps=taps), path)
    return dict(builder.linears)


def write_both(
    config: Mapping[str, Any],
    tensors: Mapping[str, Array],
    level: str,
    path: Path,
    pooling: Pooling,
    head: AddHead | None,
    *,
    part: Part = "text",
) -> list[Path]:
    """Write a part's graph in standard operators to `path`, and the fused one -> the fused one, data of both, `path`.

    `head` adds a text's vector, which the graph in standard operators gives out beside the rows; None where a graph
    cannot know it.
    """
    data, fused = data_file(path), path.with_stem(path.stem + FUSED)
    with data.open("w+b") as file:
        builder = Builder(level, file, data.name)
        onnx.save(_build(builder, config, tensors, pooling, part), fused)
        portable = PortableBuilder(level, file, data.name, builder.weights)
        onnx.save(_build(portable, config, tensors, "mean", part, head=head), path)
    return [fused, data, path]


def _build(
    b: Builder,
    config: Mapping[str, Any],
    tensors: Mapping[str, Array],
    pooling: Pooling,
    part: Part,
    *,
    head: AddHead | None = None,
    taps: bool = False,
) -> onnx.ModelProto:
    graph, known = graph_of(config["model_type"]), architectures.architecture(config["model_type"])
    dim = architectures.dim(config)
    if part == "image":
        image = known.read_image(config)
        out, row = graph.build_image(b, image, tensors)
        return b.finish(out, row, dim, (image.image_size, image.image_size))
    hidden, rows = graph.build(b, known.read(config), tensors, pooling)
    if taps:
        b.tap_linears()
    if head and rows != ONE_ROW:  # beside which finish() gives it out
        b.output(head(b, hidden), POOLED[0], ["batch", None])
    return b.finish(hidden, rows, dim)


def smooth_pairs(config: Mapping[str, Any], tensors: Mapping[str, Array]) -> list[Pair]:
    """List what makes the channels that the text part's linear layers read; nothing where that cannot be moved."""
    model_type = config["model_type"]
    pairs: list[Pair] = graph_of(model_type).smooth_pairs(architectures.architecture(model_type).read(config), tensors)
    return pairs


def level_pairs(config: Mapping[str, Any], tensors: Mapping[str, Array]) -> list[Pair]:
    """List the same of both parts, where the image part's can be moved."""
    graph, known = graph_of(config["model_type"]), architectures.architecture(config["model_type"])
    image: list[Pair] = []
    if hasattr(graph, "smooth_image_pairs"):
        image = graph.smooth_image_pairs(known.read_image(config), tensors)
    return [*smooth_pairs(config, tensors), *image]


def data_file(path: Path) -> Path:
    """Return where the weights of a graph lie."""
    return path.with_name(path.name + "_data")
