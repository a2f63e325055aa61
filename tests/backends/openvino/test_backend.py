"""OpenVINO: every architecture against transformers, int8 in integer kernels, and what it cannot read."""

from __future__ import annotations

import os
import shutil
import signal
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper

pytest.importorskip("openvino", reason="openvino is not installed: the extra openvino")

from edge_embed import BackendError, CorruptModelError, Embedder, InputError, UnsupportedModelError
from edge_embed.backends import Batch, ImageRows, TextBackend, load
from edge_embed.backends.openvino.attention import has_bfloat16, use_bfloat16_attention
from edge_embed.backends.openvino.products import use_integer_kernels
from edge_embed.backends.openvino.runtime import openvino
from edge_embed.formats.onnx import read_graph
from edge_embed.layouts.folder import read_folder
from edge_embed.layouts.onnx import in_standard_operators
from edge_embed.spec.model import ModelSpec
from edge_embed.spec.weights import File, Weights
from edge_embed_convert import convert

from support import oracle, tiny

TEXTS = ["", "a", "hello, world!", "the quick brown fox jumps over the lazy dog 0123456789", "word " * 15, "x?" * 9]
TOLERANCE = 1e-4  # per element of unit vectors; the largest that was seen is 5e-7
SPEC = ModelSpec(name="m", architecture="bert", dim=1, max_tokens=9, pooling="mean", normalize=True)
IDS = np.array([5, 6], np.int32)


@pytest.mark.parametrize("name", tiny.ARCHITECTURES)
def test_float32_equals_transformers_and_int8_is_as_near_as_our_own(name: str, tmp_path: Path) -> None:
    """In a batch with padding and alone; int8's products are the same, its attention may be in bfloat16."""
    pooling = "last" if name.startswith(("qwen", "llama", "mistral")) else "mean"
    original = tiny.make(name, tmp_path / "source", {"last": "lasttoken"}.get(pooling, pooling))
    expected = oracle.vectors(original, tmp_path / "source", TEXTS, pooling)
    (folder,) = convert(
        tmp_path / "source", tmp_path / "out", ["onnx:float32", "onnx:int8"], portable=True, accept_loss=True
    )
    with Embedder(f"{folder}:float32", backend="openvino") as model:
        assert (model.level, model.backend) == ("onnx:float32", "openvino")
        np.testing.assert_allclose(model.encode(TEXTS), expected, atol=TOLERANCE)
        np.testing.assert_allclose(np.stack([model.encode(text) for text in TEXTS]), expected, atol=TOLERANCE)
    vectors = {}
    for backend in ("onnx", "openvino"):
        with Embedder(f"{folder}:int8", backend=backend) as model:  # type: ignore[arg-type]
            vectors[backend] = model.encode(TEXTS)
    ours, here = ((vectors[backend] * expected).sum(axis=1).min() for backend in ("onnx", "openvino"))
    assert here > ours - 4e-3
    assert (vectors["onnx"] * vectors["openvino"]).sum(axis=1).min() > 0.996


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a tiny model with its graphs in both forms."""
    place = tmp_path_factory.mktemp("tiny")
    tiny.make("bert", place / "source")
    return convert(place / "source", place / "out", ["onnx:float32", "onnx:int8"], portable=True, accept_loss=True)[0]


def opened(folder: Path, level: str = "float32", threads: int = 2) -> TextBackend:
    model = read_folder(folder)
    weights = next(weights for weights in model.spec.weights if weights.level == level)
    return load("openvino", folder, model.spec, in_standard_operators(weights, model.files), threads)


def test_products_are_computed_in_integers(folder: Path) -> None:
    path = folder / "onnx/model_quantized.onnx"
    products = sum(node.op == "MatMulInteger" for node in read_graph(path).nodes)
    graph = openvino.Core().read_model(path)
    assert use_integer_kernels(graph) == products > 0
    assert use_integer_kernels(graph) == 0  # there is nothing left to do
    floats = openvino.Core().read_model(folder / "onnx/model.onnx")
    assert use_integer_kernels(floats) == 0
    compiled = openvino.Core().compile_model(graph, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    nodes = [node.get_rt_info() for node in compiled.get_runtime_model().get_ops()]
    layers = [
        node["runtimePrecision"].astype(str) for node in nodes if node["layerType"].astype(str) == "FullyConnected"
    ]
    assert len(layers) == products
    if "INT8" in openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
        assert {*layers} <= {"i8", "u8"}


@pytest.mark.parametrize("name", ["bert", "qwen3", "modernbert"])
def test_attention_is_computed_in_bfloat16(name: str, tmp_path: Path) -> None:
    """Every layer's, whatever masks are added to its scores; a text that is mostly padding keeps its vector."""
    tiny.make(name, tmp_path / "source")
    (folder,) = convert(
        tmp_path / "source", tmp_path / "out", ["onnx:float32", "onnx:int8"], portable=True, accept_loss=True
    )
    core = openvino.Core()
    weights = in_standard_operators(read_folder(folder).spec.weights[0], read_folder(folder).files)
    graph = core.read_model(folder / weights.files[0].path)
    layers = sum(node.get_type_name() == "Softmax" for node in graph.get_ops())
    assert use_bfloat16_attention(graph) == layers > 0
    if not has_bfloat16(core):
        return
    compiled = core.compile_model(graph, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    nodes = [node.get_rt_info() for node in compiled.get_runtime_model().get_ops()]
    kinds = [node["runtimePrecision"].astype(str) for node in nodes if node["layerType"].astype(str) == "Subgraph"]
    assert kinds.count("bf16") >= layers
    with Embedder(f"{folder}:int8", backend="openvino") as model:
        alone, padded = model.encode("a"), model.encode(["a", "word " * 9])[0]
    assert float(alone @ padded) > 0.999


def test_it_runs_where_it_is_named_and_nowhere_else(folder: Path) -> None:
    with Embedder(folder) as model:
        assert model.backend == "onnx"
    with Embedder(folder, backend="openvino") as model:
        assert model.backend == "openvino"


def test_a_checkpoint_is_converted_for_it(checkpoint: Path, tmp_path: Path) -> None:
    with Embedder(f"{checkpoint}:float32", backend="openvino", cache_dir=tmp_path) as model:
        assert (model.level, model.backend) == ("onnx:float32", "openvino")
        vector = model.encode("a text")
    with Embedder(f"{checkpoint}:float32", backend="onnx", cache_dir=tmp_path) as model:
        np.testing.assert_allclose(vector, model.encode("a text"), atol=1e-5)


def test_a_graph_of_onnx_runtimes_own_operators_says_how_to_make_another(tmp_path: Path) -> None:
    tiny.make("eurobert", tmp_path / "source")
    (plain,) = convert(tmp_path / "source", tmp_path / "out", ["onnx:float32"])
    with pytest.raises(UnsupportedModelError, match=r"standard operators: edge-embed convert --portable writes them"):
        Embedder(plain, backend="openvino")


def copied(folder: Path, to: Path) -> Path:
    shutil.copytree(folder / "onnx", to / "onnx")
    for name in ("config.json", "tokenizer.json"):
        shutil.copy(folder / name, to)
    return to


def test_damaged_files_are_named(folder: Path, tmp_path: Path) -> None:
    spec, weights = read_folder(folder).spec, graph_at("onnx/model.onnx")
    place = copied(folder, tmp_path / "cut")
    whole = (place / "onnx/model.onnx").read_bytes()
    for size in (0, 500, len(whole) // 2):
        (place / "onnx/model.onnx").write_bytes(whole[:size])
        with pytest.raises(CorruptModelError, match=r"model\.onnx"):
            load("openvino", place, spec, weights, 1)
    (place / "onnx/model.onnx").write_bytes(whole)
    os.truncate(place / "onnx/model.onnx_data", 64)
    with pytest.raises(CorruptModelError, match=r"cannot load .*model\.onnx"):
        load("openvino", place, spec, weights, 1)
    (place / "onnx/model.onnx_data").unlink()
    with pytest.raises(CorruptModelError, match=r"weights in 'model\.onnx_data', which is not in .*: copy it there"):
        load("openvino", place, spec, weights, 1)


def graph_at(path: str) -> Weights:
    return Weights(format="onnx", level="float32", files=(File(path=path),))


def test_weights_elsewhere_are_not_read(folder: Path, tmp_path: Path) -> None:
    place = copied(folder, tmp_path / "elsewhere")
    (place / "onnx/model.onnx_data").rename(place / "other")
    model = onnx.load(place / "onnx/model.onnx", load_external_data=False)
    for name in ("../other", str(place / "other")):
        for weight in model.graph.initializer:
            for entry in weight.external_data:
                if entry.key == "location":
                    entry.value = name
        onnx.save(model, place / "onnx/model.onnx")
        with pytest.raises(CorruptModelError, match=r"for its weights, which is not in its own folder"):
            load("openvino", place, read_folder(folder).spec, graph_at("onnx/model.onnx"), 1)


def test_ids_beyond_the_table_and_images_are_refused(folder: Path) -> None:
    backend = opened(folder)
    try:
        with pytest.raises(CorruptModelError, match=r"gives the id 9999, the weights have \d+ words"):
            backend.forward(Batch([np.array([9999], np.int32)]))
        with pytest.raises(UnsupportedModelError, match='no images among the tokens here: use backend="onnx"'):
            backend.forward(Batch([IDS], image_rows=[ImageRows(0, np.zeros((1, 32), np.float32))]))
        with pytest.raises(InputError, match=r"input 0 has 999 tokens; the model takes 1 to \d+"):
            backend.forward(Batch([np.full(999, 5, np.int32)]))
        assert len(backend.forward(Batch([IDS]))[0]) == 2  # and it goes on
    finally:
        backend.close()


def foreign(path: Path, inputs: dict[str, int], sizes: tuple[str | int, ...] = ("batch", "tokens")) -> TextBackend:
    """Open a graph that gives its ids as rows of one number."""
    nodes = [
        helper.make_node("Cast", ["input_ids"], ["x"], to=TensorProto.FLOAT),
        helper.make_node("Unsqueeze", ["x", "two"], ["last_hidden_state"]),
    ]
    axes = [helper.make_tensor("two", TensorProto.INT64, [1], [2])]
    ins = [helper.make_tensor_value_info(name, kind, sizes) for name, kind in inputs.items()]
    out = helper.make_tensor_value_info("last_hidden_state", TensorProto.FLOAT, None)
    model = helper.make_model(
        helper.make_graph(nodes, "g", ins, [out], axes), opset_imports=[helper.make_opsetid("", 17)], ir_version=9
    )
    onnx.save(model, path / "model.onnx")
    return load("openvino", path, replace(SPEC, padding_side="left"), graph_at("model.onnx"), 1)


def test_other_peoples_graphs_are_fed_by_name_and_type(tmp_path: Path) -> None:
    backend = foreign(tmp_path, {"attention_mask": TensorProto.FLOAT, "input_ids": TensorProto.INT32})
    found: list[NDArray[np.float32]] = backend.forward(Batch([IDS, np.array([7], np.int32)]))
    assert [rows.ravel().tolist() for rows in found] == [[5, 6], [7]]
    again = [rows.copy() for rows in found]
    backend.forward(Batch([np.array([1, 2], np.int32)] * 2))
    assert all(map(np.array_equal, found, again))  # a later batch is computed elsewhere
    with pytest.raises(UnsupportedModelError, match="the graph's input 'past' is not known"):
        foreign(tmp_path, {"input_ids": TensorProto.INT64, "past": TensorProto.FLOAT})
    with pytest.raises(UnsupportedModelError, match=r"'input_ids' has the size .*; export with dynamic axes"):
        foreign(tmp_path, {"input_ids": TensorProto.INT64}, ("batch", 128))
    with pytest.raises(UnsupportedModelError, match="takes 'input_ids' as float32; it can be fed as"):
        foreign(tmp_path, {"input_ids": TensorProto.FLOAT})


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system forks no processes")
@pytest.mark.parametrize(("threads", "expected"), [(1, 0), (2, 3)])
def test_a_forked_process_is_told_or_computes(folder: Path, threads: int, expected: int) -> None:
    """With one thread it computes; with more their absence is told; either way it ends."""
    backend = opened(folder, threads=threads)
    before = backend.forward(Batch([IDS]))
    if not (child := os.fork()):
        signal.alarm(60)
        try:
            code = 0 if np.array_equal(backend.forward(Batch([IDS]))[0], before[0]) else 4
        except BackendError:
            code = 3
        backend.close()
        del backend
        os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == expected
    backend.close()
