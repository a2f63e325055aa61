"""Writes a checkpoint as a peer's own tools do, for the benchmark of peers.

    python -m benchmarks.engines.peers.exports KIND SOURCE OUT [CALIBRATION.json]

KIND: onnx or openvino; each also as int8, by the recipe of sentence-transformers' documentation. CALIBRATION.json is a
list of texts, 300 of which OpenVINO's static quantisation measures activations with.
"""

from __future__ import annotations

import csv
import json
import sys
from pathlib import Path
from typing import Any


def loaded(source: str, backend: str) -> Any:
    """Load a checkpoint, which exports it where it has no graph of the backend."""
    from sentence_transformers import SentenceTransformer

    return SentenceTransformer(source, device="cpu", backend=backend)


def onnx(source: str, out: str) -> None:
    """Export in float32."""
    loaded(source, "onnx").save_pretrained(out)
    allow_the_models_limit(Path(source), Path(out))


def allow_the_models_limit(source: Path, folder: Path) -> None:
    """Let the tokenizer's settings name the model's limit: MiniLM's say 128 tokens, where fastembed would cut."""
    path = folder / "tokenizer_config.json"
    limit = json.loads((source / "sentence_bert_config.json").read_text())["max_seq_length"]
    path.write_text(json.dumps(json.loads(path.read_text()) | {"max_length": limit, "model_max_length": limit}))


def openvino(source: str, out: str) -> None:
    """Export in float32."""
    loaded(source, "openvino").save_pretrained(out)


def onnx_int8(source: str, out: str) -> None:
    """Quantise dynamically for AVX-512 VNNI, beside the float32 graph."""
    from sentence_transformers import export_dynamic_quantized_onnx_model

    model = loaded(source, "onnx")
    model.save_pretrained(out)
    export_dynamic_quantized_onnx_model(model, "avx512_vnni", out)
    allow_the_models_limit(Path(source), Path(out))


def openvino_int8(source: str, out: str, calibration: str) -> None:
    """Quantise statically, beside the float32 graph; its default set of texts would be downloaded."""
    from sentence_transformers import export_static_quantized_openvino_model

    model = loaded(source, "openvino")
    model.save_pretrained(out)
    folder = Path(out) / "calibration"
    folder.mkdir()
    with (folder / "train.csv").open("w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file)
        rows.writerows([["sentence"], *([text] for text in json.loads(Path(calibration).read_text("utf-8")))])
    export_static_quantized_openvino_model(model, None, out, str(folder), "default", "train", "sentence")


def main(kind: str, source: str, out: str, calibration: str = "") -> None:
    """Write one kind."""
    if kind == "openvino-int8":
        openvino_int8(source, out, calibration)
    else:
        {"onnx": onnx, "openvino": openvino, "onnx-int8": onnx_int8}[kind](source, out)


if __name__ == "__main__":
    main(*sys.argv[1:])
