"""A checkpoint -> an ONNX graph at one level, in `onnx/` of a folder, weights in a data file beside it."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import onnx

from edge_embed.errors import UnsupportedModelError, listing
from edge_embed.repo import ONNX_NAMES
from edge_embed.spec import Pooling

from . import onnx_graphs
from .onnx_builder import Builder
from .source import Array


def architecture(model_type: str) -> ModuleType:
    """Return the file of an architecture; raise UnsupportedModelError, listing those that exist."""
    known = [module.name for module in pkgutil.iter_modules(onnx_graphs.__path__)]
    if model_type not in known:
        raise UnsupportedModelError(f"model_type {model_type!r} has no ONNX graph; there are {listing(known)}")
    return importlib.import_module(f"{onnx_graphs.__name__}.{model_type}")


def to_onnx(
    config: Mapping[str, Any], tensors: Mapping[str, Array], level: str, folder: Path, *, pooling: Pooling
) -> list[Path]:
    """Write the graph at a level, computing what the pooling needs -> its files, the one to open first."""
    graph = architecture(config["model_type"])
    path = folder / "onnx" / ONNX_NAMES[level][0]
    path.parent.mkdir(parents=True, exist_ok=True)
    data = path.with_name(path.name + "_data")
    with data.open("wb") as file:
        builder = Builder(level, file, data.name)
        hidden, rows = graph.build(builder, config, tensors, pooling)
        model = builder.finish(hidden, rows, config["hidden_size"])
    onnx.save(model, path)
    return [path, data]
