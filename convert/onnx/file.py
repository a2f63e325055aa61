"""One architecture's graph at one level -> an ONNX file with its weights in a data file beside it."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import onnx

from edge_embed.architectures.llava_next import vision_config
from edge_embed.errors import UnsupportedModelError, listing
from edge_embed.layouts.sentence_transformers import width_of
from edge_embed.spec.model import Pooling

from ..checkpoint.source import Array
from . import graphs as onnx_graphs
from .builder import Builder


def architecture(model_type: str) -> ModuleType:
    """Return the file of an architecture; raise UnsupportedModelError, listing those that exist."""
    known = [module.name for module in pkgutil.iter_modules(onnx_graphs.__path__) if module.name[0] != "_"]
    if model_type not in known:
        raise UnsupportedModelError(f"model_type {model_type!r} has no ONNX graph; there are {listing(known)}")
    return importlib.import_module(f"{onnx_graphs.__name__}.{model_type}")


def write_graph(
    config: Mapping[str, Any],
    tensors: Mapping[str, Array],
    level: str,
    path: Path,
    pooling: Pooling,
    *,
    part: str = "text",
    taps: bool = False,
) -> dict[str, str]:
    """Write the graph of a part, "text" or "image" -> what each linear layer reads, by the layer's name.

    With `taps`, three more outputs for each value X that a linear layer reads: X.sum, its squares summed over tokens,
    X.peak, its largest magnitude (both (in,)), and X.rows, its sizes before the last.
    """
    graph = architecture(config["model_type"])
    data = data_file(path)
    with data.open("wb") as file:
        builder = Builder(level, file, data.name)
        if part == "image":
            side = vision_config(config)["image_size"]
            out, row = graph.build_image(builder, config, tensors)
            model = builder.finish(out, row, width_of(config), (side, side))
        else:
            hidden, rows = graph.build(builder, config, tensors, pooling)
            if taps:
                builder.tap_linears()
            model = builder.finish(hidden, rows, width_of(config))
    onnx.save(model, path)
    return dict(builder.linears)


def parts_of(model_type: str) -> list[str]:
    """List the parts that an architecture has a graph for: "text", and "image" where it takes pictures."""
    return ["text", *(["image"] if hasattr(architecture(model_type), "build_image") else [])]


def data_file(path: Path) -> Path:
    """Return where the weights of a graph lie."""
    return path.with_name(path.name + "_data")
