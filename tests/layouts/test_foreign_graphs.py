"""Graphs as other exporters make them: what they take, what they give, and files of weights under any names."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper
from onnx.external_data_helper import set_external_data

from edge_embed import CorruptModelError, Embedder
from edge_embed.backends.onnx.runtime import ort
from edge_embed.layouts.folder import read_folder
from edge_embed_convert import convert

TEXTS = ["", "hello, world!", "the quick brown fox"]


@pytest.fixture(scope="module")
def exact(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    (made,) = convert(checkpoint, tmp_path_factory.mktemp("made"), ["onnx:float32"])
    return made


@pytest.fixture(scope="module")
def expected(exact: Path) -> NDArray[np.float32]:
    with Embedder(exact) as model:
        return model.encode(TEXTS)


@pytest.fixture
def pooled(exact: Path, source: Path) -> Path:
    """Return a folder of others: its graph pools, in float16, takes its mask as int8, has three files of weights."""
    model = onnx.load(exact / "onnx" / "model.onnx")
    pool(model, mask=TensorProto.INT8, out=TensorProto.FLOAT16)
    place = source / "onnx"
    place.mkdir()
    for n, weight in enumerate(weight for weight in model.graph.initializer if weight.data_type == TensorProto.FLOAT):
        file = place / ("model.onnx_data", "weights.bin", "more/weights.bin")[n % 3]
        file.parent.mkdir(exist_ok=True)
        with file.open("ab") as out:
            out.write(weight.raw_data)
            start = out.tell() - len(weight.raw_data)
        set_external_data(weight, file.relative_to(place).as_posix(), start, len(weight.raw_data))
        weight.ClearField("raw_data")
    onnx.save(model, place / "model.onnx")
    (source / "model.safetensors").unlink()
    return source


def pool(model: onnx.ModelProto, mask: int, out: int) -> None:
    """Give out the mean of the tokens alone, and take the mask in another type."""
    graph = model.graph
    (given,) = (node for node in graph.input if node.name == "attention_mask")
    given.type.tensor_type.elem_type = mask
    for node in graph.node:
        node.input[:] = ["mask" if name == "attention_mask" else name for name in node.input]
    graph.node.insert(0, helper.make_node("Cast", ["attention_mask"], ["mask"], to=TensorProto.INT64))
    axes = [helper.make_tensor(f"axis{n}", TensorProto.INT64, [1], np.array([n]).tobytes(), raw=True) for n in (1, 2)]
    graph.initializer.extend(axes)
    graph.node.extend(
        [
            helper.make_node("Cast", ["mask"], ["flags"], to=TensorProto.FLOAT),
            helper.make_node("Unsqueeze", ["flags", "axis2"], ["column"]),
            helper.make_node("Mul", ["last_hidden_state", "column"], ["kept"]),
            helper.make_node("ReduceSum", ["kept", "axis1"], ["sum"], keepdims=0),
            helper.make_node("ReduceSum", ["column", "axis1"], ["count"], keepdims=0),
            helper.make_node("Div", ["sum", "count"], ["mean"]),
            helper.make_node("Cast", ["mean"], ["embeddings"], to=out),
        ]
    )
    graph.ClearField("output")
    graph.output.append(helper.make_tensor_value_info("embeddings", out, ["batch", 32]))


def in_the_hubs_cache(folder: Path, cache: Path) -> Path:
    """Lay a folder out as the hub's cache has it: every file a link to one that is called by its hash."""
    storage = cache / "models--user--pooled"
    snapshot = storage / "snapshots" / ("a" * 40)
    (storage / "blobs").mkdir(parents=True)
    for path in filter(Path.is_file, folder.rglob("*")):
        blob = storage / "blobs" / hashlib.sha256(path.read_bytes()).hexdigest()
        shutil.copy(path, blob)
        link = snapshot / path.relative_to(folder)
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(os.path.relpath(blob, link.parent))
    return snapshot


def as_it_is(folder: Path, cache: Path) -> Path:
    return folder


@pytest.mark.parametrize("place", [as_it_is, in_the_hubs_cache])
def test_a_graph_that_pools_gives_the_same(
    pooled: Path, expected: NDArray[np.float32], tmp_path: Path, place: Callable[[Path, Path], Path]
) -> None:
    folder = place(pooled, tmp_path / "cache")
    model = read_folder(folder)
    assert model.files_of(model.spec.weights[0]) == [
        *("onnx/model.onnx_data", "onnx/more/weights.bin", "onnx/weights.bin", "onnx/model.onnx")
    ]
    with Embedder(folder) as embedder:
        np.testing.assert_allclose(embedder.encode(TEXTS), expected, atol=5e-4)  # of float16; 8.7e-5 was measured
        np.testing.assert_allclose(embedder.encode(TEXTS[1]), expected[1], atol=5e-4)


@pytest.mark.skipif(ort.__version__.startswith(("1.22.", "1.23.")), reason="these onnxruntimes follow every link")
def test_weights_behind_a_link_to_another_folder(pooled: Path, tmp_path: Path) -> None:
    data = pooled / "onnx" / "weights.bin"
    moved = data.rename(tmp_path / "elsewhere.bin")
    data.symlink_to(moved)
    with pytest.raises(
        CorruptModelError, match=r"It takes weights only from .*onnx and from the folder in which"
    ) as told:
        Embedder(pooled)
    assert "by hard links or copies in the place of links" in str(told.value)
    data.unlink()
    data.hardlink_to(moved)
    Embedder(pooled).close()


def test_weights_that_are_not_there_are_named(pooled: Path) -> None:
    (pooled / "onnx" / "weights.bin").unlink()
    with pytest.raises(CorruptModelError, match=r"cannot load .*model\.onnx: .*weights\.bin"):
        Embedder(pooled)
