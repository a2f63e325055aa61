"""ONNX graphs of a folder -> `Weights`, by the names that transformers.js, optimum and sentence-transformers give."""

from __future__ import annotations

import math
import posixpath
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from edge_embed.device.machine import this_device
from edge_embed.errors import CorruptModelError, UnsupportedModelError, listing
from edge_embed.formats.onnx import FUSED, data_name, read_graph
from edge_embed.spec.weights import File, Level, Part, Weights

from .listing import Listing

# What stands before a graph's name where a model has several parts, as jina-clip-v1 and transformers.js name them.
PARTS: dict[Part, str] = {"text": "text_", "image": "vision_"}
# What transformers.js, optimum and sentence-transformers call their graphs; the first that exists is the level's.
NAMES: dict[Level, tuple[str, ...]] = {
    "float32": ("model.onnx", "model_O3.onnx", "model_O2.onnx", "model_O1.onnx"),
    "float16": ("model_fp16.onnx", "model_float16.onnx", "model_O4.onnx"),
    "int8": ("model_int8.onnx", "model_quantized.onnx", "model_q8.onnx", "model_uint8.onnx"),
    "int4": ("model_int4.onnx", "model_q4.onnx", "model_bnb4.onnx", "model_q4f16.onnx"),
}
# What transformers.js calls the graphs that it loads for each of its `dtype`s: ours in standard operators, and with
# FUSED, which are looked for before all others, those that are to run here.
PORTABLE: dict[Level, str] = {
    "float32": "model.onnx",
    "float16": "model_fp16.onnx",
    "int8": "model_quantized.onnx",
    "int4": "model_q4.onnx",
}
# int8 as optimum quantises it for one kind of processor: the instructions, by our names, that it was made for.
BUILT_FOR: dict[str, frozenset[str]] = {
    "model_qint8_avx512_vnni.onnx": frozenset({"avx512_vnni"}),
    "model_qint8_avx512.onnx": frozenset({"avx512"}),
    "model_quint8_avx2.onnx": frozenset({"avx2"}),
    "model_qint8_avx2.onnx": frozenset({"avx2"}),
    "model_qint8_arm64.onnx": frozenset({"neon"}),
}
BY_WEIGHTS = ("model_optimized.onnx",)  # a name that fastembed gives to float32 and to int8
FOLDERS = ("onnx/", "")
NO_DATA = (".onnx", ".json", ".txt", ".md", ".model", ".gguf", ".safetensors", ".py", ".jinja")  # of a graph's weights
FOUR_BITS = {"MatMulNBits", "MatMulBnb4"}  # operators whose weights are packed
EIGHT_BITS = {"DynamicQuantizeMatMul", "MatMulInteger", "MatMulIntegerToFloat", "QAttention", "QLinearMatMul"}
EIGHT_BITS |= {"ConvInteger", "DequantizeLinear", "QGemm"}


def find_onnx(files: Listing) -> tuple[Weights, ...]:
    """List the ONNX graphs in a folder or its `onnx/`, one a level and part, by their usual names.

    Beside graphs of both parts, one without a part's name holds both, and is left out.
    """
    parts = _graphs(files, PARTS.items())
    return parts if {one.part for one in parts} == PARTS.keys() else (*_graphs(files, [("text", "")]), *parts)


def _graphs(files: Listing, prefixes: Iterable[tuple[Part, str]]) -> tuple[Weights, ...]:
    found: list[Weights] = []
    for part, prefix in prefixes:
        fused = {level: name.replace(".onnx", f"{FUSED}.onnx") for level, name in PORTABLE.items()}
        known = {level: (fused[level], *names_of(level, this_device().features)) for level in NAMES}
        graphs = {level: _first(files, prefix, names) for level, names in known.items()}
        if other := _first(files, prefix, BY_WEIGHTS):
            level = level_of(files.header(other))
            graphs[level] = graphs[level] or other
        found += [
            Weights(format="onnx", level=level, files=(File(path=graph),), part=part)
            for level, graph in graphs.items()
            if graph is not None
        ]
    return tuple(found)


def names_of(level: Level, features: frozenset[str]) -> tuple[str, ...]:
    """List what a level's graph may be called, those first that were built for a processor with these features."""
    if level != "int8":
        return NAMES[level]
    fitting = [name for name, needed in BUILT_FOR.items() if needed <= features]
    own, *others = NAMES[level]
    return (own, *fitting, *others, *(name for name in BUILT_FOR if name not in fitting))


def level_of(path: Path) -> Level:
    """Read a graph's level from its operators and weights; raise UnsupportedModelError where they do not tell it."""
    graph = read_graph(path)
    ops = {op for node in graph.nodes for op in (node.op, *node.inside)}
    if ops & FOUR_BITS:
        bits = {node.ints.get("bits", 4) for node in graph.nodes if node.op in FOUR_BITS}
        return "int4" if min(bits) == 4 else "int8"
    if ops & EIGHT_BITS:
        return "int8"
    counts = dict.fromkeys(("float32", "float16", "int8", "int4"), 0)
    for weight in graph.weights.values():
        count = math.prod(weight.shape)
        level = {32: "float32", 16: "float16", 8: "int8", 4: "int4"}.get(weight.size * 8 // count if count else 0)
        if level is not None and len(weight.shape) > 1:
            counts[level] += count
    if not any(counts.values()):
        raise UnsupportedModelError(
            f"{path} does not tell at which level its weights are: it holds no matrix of a type that is known; rename "
            f"it to one of {listing([names[0] for names in NAMES.values()])}"
        )
    return max(counts, key=lambda level: counts[level])


def _first(files: Listing, prefix: str, names: Iterable[str]) -> str | None:
    graphs = (folder + prefix + name for name in names for folder in FOLDERS)
    return next((graph for graph in graphs if graph in files), None)


def in_standard_operators(weights: Weights, files: Listing) -> Weights:
    """Return the weights with the graph in standard operators in the place of the fused one that it lies beside."""
    fused = weights.files[0].path
    graph = data_name(fused)
    if graph == fused or graph not in files:
        return weights
    first = next((file for file in weights.files if file.path == graph), File(path=graph))
    return replace(weights, files=(first, *(file for file in weights.files if file.path not in (fused, graph))))


def data_files(graph: str, files: Listing) -> list[str]:
    """List a graph's data files: those called like it or its portable form, and, where it lies here, those it names."""
    place, start = graph[: graph.rfind("/") + 1], data_name(graph)
    found = [name for name in files.sizes if name.startswith(start) and name not in (start, graph)]
    graphs = tuple(name for name in files.sizes if name.endswith(".onnx"))
    others = {name for name in files.sizes if name.startswith(place) and not name.startswith(graphs)}
    others = {name for name in others if not name.lower().endswith(NO_DATA)}
    if others and files.has(graph):
        with suppress(CorruptModelError):  # the engine says what is amiss with it
            weights = read_graph(files.folder / graph).weights.values()
            named = {posixpath.normpath(posixpath.join(place, weight.file)) for weight in weights if weight.file}
            found += sorted(named & others)
    return found
