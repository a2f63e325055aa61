"""ONNX graphs of a folder -> `Weights`, by the names that transformers.js, optimum and sentence-transformers give."""

from __future__ import annotations

from collections.abc import Iterable

from edge_embed.spec.weights import File, Level, Part, Weights

from .listing import Listing

# What stands before a graph's name where a model has several parts, as jina-clip-v1 and transformers.js name them.
PARTS: dict[Part, str] = {"text": "text_", "image": "vision_"}
# What transformers.js, optimum and sentence-transformers call their graphs; the first that exists is the level's.
NAMES: dict[Level, tuple[str, ...]] = {
    "float32": ("model.onnx", "model_O3.onnx", "model_O2.onnx", "model_O1.onnx"),
    "float16": ("model_fp16.onnx", "model_float16.onnx", "model_O4.onnx"),
    "int8": ("model_int8.onnx", "model_quantized.onnx", "model_qint8_avx512_vnni.onnx", "model_quint8_avx2.onnx"),
    "int4": ("model_int4.onnx", "model_q4.onnx"),
}
FOLDERS = ("onnx/", "")


def find_onnx(files: Listing) -> tuple[Weights, ...]:
    """List the ONNX graphs in a folder or its `onnx/`, one a level and part, by their usual names."""
    prefixes: list[tuple[Part, str]] = [("text", ""), *PARTS.items()]
    found = []
    for part, prefix in prefixes:
        for level, names in NAMES.items():
            graphs = (folder + prefix + name for name in names for folder in FOLDERS)
            graph = next((graph for graph in graphs if graph in files), None)
            if graph is not None:
                found.append(Weights(format="onnx", level=level, files=(File(path=graph),), part=part))
    return tuple(found)


def data_files(graph: str, names: Iterable[str]) -> list[str]:
    """List which names are a graph's data files: they begin with the graph's own."""
    return [name for name in names if name.startswith(graph) and name != graph]
