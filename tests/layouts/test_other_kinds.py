"""What is left out by decision says what it is, and what to take in its place."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from edge_embed import Embedder, UnsupportedModelError
from edge_embed.layouts.folder import read_folder
from edge_embed_convert import convert


def change(folder: Path, **values: Any) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))


@pytest.mark.parametrize(
    ("model_type", "message"),
    [
        ("t5", r"is T5 \(sentence-t5, gtr-t5, instructor\), which is left out: .* all-mpnet-base-v2.* multilingual-e5"),
        ("mt5", "is T5"),
        ("umt5", "is T5"),
        ("deberta", "is DeBERTa, which is left out: take one on BERT, MPNet or ModernBERT, such as all-mpnet-base-v2"),
        ("deberta-v2", "is DeBERTa"),
        ("electra", "is ELECTRA, which is left out: take one on BERT, MPNet or ModernBERT"),
        ("albert", r"is ALBERT \(paraphrase-albert-small-v2\), .* take all-MiniLM-L6-v2"),
    ],
)
def test_architectures_that_are_left_out(model_type: str, message: str, source: Path, tmp_path: Path) -> None:
    change(source, model_type=model_type)
    with pytest.raises(UnsupportedModelError, match=f"model_type '{model_type}' {message}"):
        convert(source, tmp_path / "out", ["onnx:int8"])
    with pytest.raises(UnsupportedModelError, match=f"model_type '{model_type}' {message}"):
        Embedder(source)


@pytest.mark.parametrize("place", ["models", "modules"])  # before sentence-transformers 6, and since
def test_a_sparse_encoder(place: str, source: Path) -> None:
    kinds = [f"sentence_transformers.sparse_encoder.{place}.{kind}" for kind in ("MLMTransformer", "SpladePooling")]
    (source / "modules.json").write_text(json.dumps([{"path": "", "type": kind} for kind in kinds]))
    with pytest.raises(UnsupportedModelError, match=r"is a sparse encoder \(SPLADE\), .* BAAI/bge-small-en-v1\.5"):
        Embedder(source)
    with pytest.raises(UnsupportedModelError, match="is a sparse encoder"):
        read_folder(source, overrides={"pooling": "mean"})


def test_a_cross_encoder(source: Path) -> None:
    kind = {"path": "", "type": "sentence_transformers.cross_encoder.modules.LogitScore"}
    (source / "modules.json").write_text(json.dumps([kind]))
    with pytest.raises(UnsupportedModelError, match="is a cross-encoder, which scores pairs of texts"):
        read_folder(source)
    (source / "modules.json").unlink()
    change(source, architectures=["BertForSequenceClassification"])
    with pytest.raises(
        UnsupportedModelError, match=r"rerank by sentence-transformers' CrossEncoder, and embed by a mode"
    ):
        Embedder(source)
    assert read_folder(source, overrides={"pooling": "mean"}).spec.pooling == "mean"  # whoever says so knows better
    change(source, architectures=["BertModel"])
    with pytest.raises(UnsupportedModelError, match="does not say how to pool"):
        read_folder(source)
