"""Folders of ONNX graphs as transformers.js, fastembed and optimum publish them: names, levels, what is left open."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest

from edge_embed import Embedder
from edge_embed.errors import InputError, UnsupportedModelError
from edge_embed.layouts.folder import read_folder
from edge_embed.layouts.onnx import names_of


def graph(path: Path, op: str = "MatMul", dtype: str = "float32") -> None:
    """Save a graph of one operator and one weight."""
    weight = onnx.numpy_helper.from_array(np.zeros((4, 4), dtype), "w")
    node = onnx.helper.make_node(op, ["x", "w"], ["y"])
    path.parent.mkdir(exist_ok=True)
    onnx.save(onnx.helper.make_model(onnx.helper.make_graph([node], "g", [], [], [weight])), path)


@pytest.mark.parametrize(
    ("op", "dtype", "level"),
    [
        ("MatMul", "float32", "float32"),
        ("MatMul", "float16", "float16"),
        ("MatMulInteger", "int8", "int8"),
        ("DynamicQuantizeMatMul", "float32", "int8"),
        ("MatMulNBits", "uint8", "int4"),
    ],
)
def test_a_graph_of_an_odd_name_has_the_level_of_its_weights(source: Path, op: str, dtype: str, level: str) -> None:
    graph(source / "onnx" / "other.onnx", op, dtype)
    (odd,) = read_folder(source / "onnx" / "other.onnx").spec.weights
    assert (odd.level, odd.files[0].path) == (level, "onnx/other.onnx")
    graph(source / "model_optimized.onnx", op, dtype)
    assert read_folder(source).levels() == [f"onnx:{level}"]


def test_a_graph_that_does_not_tell_its_level(source: Path) -> None:
    graph(source / "onnx" / "other.onnx", dtype="int64")
    with pytest.raises(UnsupportedModelError, match="does not tell at which level its weights are"):
        read_folder(source / "onnx" / "other.onnx")


def test_of_several_int8_files_the_one_that_was_built_for_the_processor_is_taken() -> None:
    vnni = {"avx2", "avx512", "avx512_vnni"}
    arm, x86, old = (names_of("int8", frozenset(features)) for features in ({"neon"}, vnni, set[str]()))
    assert arm[:2] == ("model_int8.onnx", "model_qint8_arm64.onnx")
    assert x86[1:3] == ("model_qint8_avx512_vnni.onnx", "model_qint8_avx512.onnx")
    assert old[1] == "model_quantized.onnx"
    assert set(arm) == set(x86) == set(old)


@pytest.mark.parametrize(
    ("name", "level"),
    [
        *[(f"model_O{n}", "float32") for n in (1, 2, 3)],
        *[("model_O4", "float16"), ("model_fp16", "float16"), ("model_bnb4", "int4"), ("model_q4f16", "int4")],
        *[(f"model_{name}", "int8") for name in ("q8", "uint8", "qint8_arm64", "quint8_avx2", "qint8_avx512_vnni")],
    ],
)
def test_names_of_other_exporters(source: Path, name: str, level: str) -> None:
    (source / "onnx").mkdir()
    (source / "onnx" / f"{name}.onnx").touch()
    assert read_folder(source).levels() == [f"onnx:{level}"]
    (one,) = read_folder(source / "onnx" / f"{name}.onnx").spec.weights
    assert one.level == level


def test_what_a_foreign_folder_leaves_open_can_be_said(source: Path) -> None:
    (source / "modules.json").unlink()
    with pytest.raises(UnsupportedModelError, match=r'as the model.s card does, pooling="mean", "first" or "last"'):
        Embedder(source)
    with Embedder(f"{source}:float32", pooling="first", prompts={"query": "Q: ", "document": "D: {text}!"}) as model:
        assert model.spec.pooling == "first"
        assert model.spec.prompts == {"query": "Q: {text}", "document": "D: {text}!"}
        assert "prompts: query, document" in model.explain()
    with pytest.raises(InputError, match="'pooling' is given beside spec and in it: say it once"):
        Embedder(source, pooling="first", spec={"pooling": "mean"})
