"""ONNX graphs of a folder -> `Weights`, by the names that transformers.js, optimum and sentence-transformers give."""

from __future__ import annotations

from pathlib import Path

from edge_embed.spec.weights import File, Weights

# What stands before a graph's name where a model has several parts, as jina-clip-v1 and transformers.js name them.
PARTS = {"text": "text_", "image": "vision_"}
# What transformers.js, optimum and sentence-transformers call their graphs; the first that exists is the level's.
NAMES = {
    "float32": ("model.onnx", "model_O3.onnx", "model_O2.onnx", "model_O1.onnx"),
    "float16": ("model_fp16.onnx", "model_float16.onnx", "model_O4.onnx"),
    "int8": ("model_int8.onnx", "model_quantized.onnx", "model_qint8_avx512_vnni.onnx", "model_quint8_avx2.onnx"),
    "int4": ("model_int4.onnx", "model_q4.onnx"),
}


def find_onnx(path: Path) -> tuple[Weights, ...]:
    """List the ONNX graphs in a folder or its `onnx/`, one a level and part, by their usual names."""
    found = []
    for part, prefix in [("text", ""), *PARTS.items()]:
        for level, names in NAMES.items():
            graphs = (path / place / (prefix + name) for name in names for place in ("onnx", "."))
            graph = next((graph for graph in graphs if graph.is_file()), None)
            if graph is not None:
                file = File(path=graph.relative_to(path).as_posix())
                found.append(Weights(format="onnx", level=level, files=(file,), part=part))
    return tuple(found)
