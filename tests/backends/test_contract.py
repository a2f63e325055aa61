"""What every backend promises: ragged float32 rows, in order, the same in any batch, from any thread."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper
from safetensors.numpy import save_file

from edge_embed import (
    BackendError,
    CorruptModelError,
    Embedder,
    InputError,
    MissingDependencyError,
    UnsupportedModelError,
)
from edge_embed.backends import Batch, TextBackend, fake, load, load_images
from edge_embed.backends.facts import facts, names
from edge_embed.backends.static.backend import StaticBackend
from edge_embed.layouts.folder import ModelFolder, read_folder
from edge_embed.layouts.onnx import in_standard_operators
from edge_embed_convert import convert

from support import letters, tiny
from support.threads import wrong_in_threads

BACKENDS = ["fake", *names()]
WITHOUT = pytest.mark.skipif(not facts("openvino").installed, reason="openvino is not installed: the extra openvino")
DEVIATIONS = {  # the largest change of an element of a row among others; hidden states are near 1
    "fake": 0.0,
    "gguf": 5e-4,  # BERT's GELU is a table in float16 there; 1.3e-4 was measured
    "mlx": 2e-6,
    "onnx": 2e-6,
    "openvino": 2e-6,
    "static": 0.0,
}


@pytest.fixture(scope="module")
def repos(tmp_path_factory: pytest.TempPathFactory) -> dict[str, ModelFolder]:
    """Return one model in every format."""
    folder = tmp_path_factory.mktemp("tiny")
    tiny.make("bert", folder / "source")
    made = convert(folder / "source", folder / "out", ["onnx:float32", "gguf:F32", "mlx:float32"], portable=True)
    found = {repo.spec.weights[0].format: repo for repo in map(read_folder, made)}
    standard = [in_standard_operators(weights, found["onnx"].files) for weights in found["onnx"].spec.weights]
    return found | {"openvino": found["onnx"].with_weights(standard)}


@pytest.fixture(scope="module")
def repo(repos: dict[str, ModelFolder]) -> ModelFolder:
    return repos["onnx"]


@pytest.fixture(params=[pytest.param(name, marks=[WITHOUT] * (name == "openvino")) for name in BACKENDS])
def backend(request: pytest.FixtureRequest, repos: dict[str, ModelFolder]) -> Iterator[TextBackend]:
    own = repos.get(request.param, repos["onnx"]) if request.param != "static" else table(request)
    arguments = own.folder, own.spec, own.spec.weights[0], 2
    loaded = fake.load(*arguments) if request.param == "fake" else load(request.param, *arguments)
    yield loaded
    loaded.close()


def table(request: pytest.FixtureRequest) -> ModelFolder:
    """Return a static model of the same words and width."""
    folder = request.getfixturevalue("tmp_path") / "table"
    folder.mkdir()
    rows = np.random.default_rng(1).standard_normal((len(tiny.WORDS), 32), np.float32)
    save_file({"embeddings": rows}, folder / "model.safetensors")
    (folder / "config.json").write_text('{"model_type": "model2vec"}')
    letters.tokenizer().save(str(folder / "tokenizer.json"))
    return read_folder(folder)


def some_ids(*lengths: int) -> list[NDArray[np.int32]]:
    rng = np.random.default_rng(5)
    return [rng.integers(4, len(tiny.WORDS), length).astype(np.int32) for length in lengths]


def test_the_list_is_complete() -> None:
    assert [*names()] == sorted({*BACKENDS} - {"fake"})  # which is for tests alone


def test_every_engine_gives_the_same_vectors(repos: dict[str, ModelFolder]) -> None:
    texts = ["a cat", "the quick brown fox", "x", "0123456789 " * 5]
    here = [name for name in repos if facts(name).installed]
    vectors = {name: Embedder(repos[name].folder, backend=name).encode(texts) for name in here}  # type: ignore[arg-type]
    np.testing.assert_allclose(vectors.get("openvino", vectors["onnx"]), vectors["onnx"], atol=1e-6)
    np.testing.assert_allclose(vectors["mlx"], vectors["onnx"], atol=1e-5)
    np.testing.assert_allclose(vectors["gguf"], vectors["onnx"], atol=5e-4)  # for the same reason; 1.9e-4 was measured


def test_rows_are_ragged_float32_in_order(backend: TextBackend, repo: ModelFolder) -> None:
    ids = some_ids(5, 1, 64, 2, 33)
    rows = backend.forward(Batch(ids))
    pooled = isinstance(backend, StaticBackend)  # of which one row, the mean, is all
    assert [row.shape for row in rows] == [(1 if pooled else len(row), repo.spec.dim) for row in ids]
    assert all(row.dtype == np.float32 and np.isfinite(row).all() for row in rows)


def test_a_vector_does_not_depend_on_its_batch(backend: TextBackend, request: pytest.FixtureRequest) -> None:
    ids = some_ids(5, 1, 64, 2, 33)
    tolerance = DEVIATIONS[request.node.callspec.params["backend"]]
    alone = [backend.forward(Batch([row]))[0] for row in ids]
    for order in ([0, 1, 2, 3, 4], [4, 3, 2, 1, 0], [1, 3], [2, 2, 0]):
        for row, n in zip(backend.forward(Batch([ids[n] for n in order])), order, strict=True):
            np.testing.assert_allclose(row, alone[n], atol=tolerance)


def test_threads_may_share_it(backend: TextBackend) -> None:
    ids = some_ids(9, 17, 40)
    expected = [backend.forward(Batch([row]))[0] for row in ids]
    assert not wrong_in_threads(
        lambda n: bool(np.allclose(backend.forward(Batch([ids[n]]))[0], expected[n], atol=1e-5)), inputs=3, calls=20
    )


def test_unknown_and_missing_backends(repo: ModelFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(
        InputError,
        match="unknown backend 'tensorrt': choose from 'auto', 'fastest', 'gguf', 'mlx', 'onnx', 'openvino', 'static'",
    ):
        load("tensorrt", repo.folder, repo.spec, repo.spec.weights[0], 1)
    monkeypatch.setitem(__import__("sys").modules, "onnxruntime", None)
    for name in ("backend", "runtime"):  # no more: what is imported anew stays in its package, beside what is put back
        monkeypatch.delitem(__import__("sys").modules, f"edge_embed.backends.onnx.{name}", raising=False)
    with pytest.raises(MissingDependencyError, match=r"pip install onnxruntime$"):
        load("onnx", repo.folder, repo.spec, repo.spec.weights[0], 1)


@pytest.mark.parametrize("name", ["gguf", "mlx", "onnx", pytest.param("openvino", marks=WITHOUT)])
def test_a_closed_model_says_so(repos: dict[str, ModelFolder], name: str) -> None:
    repo = repos[name]
    backend = load(name, repo.folder, repo.spec, repo.spec.weights[0], 1)
    backend.close()
    backend.close()
    with pytest.raises(BackendError, match="was closed"):
        backend.forward(Batch(some_ids(3)))


def graph(path: Path, inputs: dict[str, int], outputs: dict[str, list[str | int]], width: str | int = "tokens") -> None:
    """Save a graph that casts input_ids to float and gives them out in each shape asked for."""
    nodes = [helper.make_node("Cast", ["input_ids"], ["x"], to=TensorProto.FLOAT)]
    nodes += [
        helper.make_node("Unsqueeze", ["x", "two"], ["hidden"]),
        helper.make_node("ReduceSum", ["hidden", "one"], ["sum"]),
    ]
    nodes += [helper.make_node("Identity", ["sum" if len(s) == 2 else "hidden"], [name]) for name, s in outputs.items()]
    axes = [
        helper.make_tensor("two", TensorProto.INT64, [1], [2]),
        helper.make_tensor("one", TensorProto.INT64, [1], [1]),
    ]
    ins = [helper.make_tensor_value_info(name, kind, ["batch", width]) for name, kind in inputs.items()]
    outs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in outputs.items()]
    model = helper.make_graph(nodes, "other", ins, outs, axes)
    onnx.save(helper.make_model(model, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), path)


def foreign(repo: ModelFolder, tmp_path: Path, **shape: object) -> TextBackend:
    from dataclasses import replace

    from edge_embed.spec.weights import File, Weights

    graph(tmp_path / "model.onnx", **shape)  # type: ignore[arg-type]
    weights = Weights(format="onnx", level="float32", files=(File(path="model.onnx"),))
    return load("onnx", tmp_path, replace(repo.spec, dim=1), weights, 1)


HIDDEN: list[str | int] = ["batch", "tokens", 1]


def test_outputs_are_chosen_by_name_not_by_place(repo: ModelFolder, tmp_path: Path) -> None:
    ids = {"input_ids": TensorProto.INT64}
    both = foreign(
        repo, tmp_path, inputs=ids, outputs={"sentence_embedding": ["batch", 1], "last_hidden_state": HIDDEN}
    )
    assert [row.tolist() for row in both.forward(Batch([np.array([3, 4], np.int32)]))] == [[[3], [4]]]
    pooled = foreign(repo, tmp_path, inputs=ids, outputs={"logits": HIDDEN, "sentence_embedding": ["batch", 1]})
    assert [row.tolist() for row in pooled.forward(Batch([np.array([3, 4], np.int32)]))] == [[[7]]]
    only = foreign(repo, tmp_path, inputs=ids, outputs={"output_0": HIDDEN})
    assert only.forward(Batch([np.array([9], np.int32)]))[0].tolist() == [[9]]
    with pytest.raises(UnsupportedModelError, match="none of the outputs 'logits', 'scores' is one of"):
        foreign(repo, tmp_path, inputs=ids, outputs={"logits": HIDDEN, "scores": HIDDEN})


def test_inputs_are_fed_by_name_and_type(repo: ModelFolder, tmp_path: Path) -> None:
    names = {"token_type_ids": TensorProto.INT64, "input_ids": TensorProto.INT32, "position_ids": TensorProto.INT64}
    backend = foreign(repo, tmp_path, inputs=names, outputs={"last_hidden_state": HIDDEN})
    assert backend.forward(Batch([np.array([5, 6], np.int32)]))[0].tolist() == [[5], [6]]
    with pytest.raises(UnsupportedModelError, match="the graph's input 'past_key_values' is not known; known are"):
        foreign(repo, tmp_path, inputs={**names, "past_key_values": TensorProto.FLOAT}, outputs={"y": HIDDEN})
    with pytest.raises(UnsupportedModelError, match="inputs 'input_ids' have a fixed size"):
        foreign(repo, tmp_path, inputs={"input_ids": TensorProto.INT64}, outputs={"y": HIDDEN}, width=128)


def test_outputs_of_another_shape(repo: ModelFolder, tmp_path: Path) -> None:
    nodes = {
        "Size": helper.make_node("Size", ["input_ids"], ["y"]),
        "Shape": helper.make_node("Shape", ["input_ids"], ["y"]),
        "Unsqueeze": helper.make_node("Unsqueeze", ["input_ids", "axes"], ["y"]),
    }
    ids = helper.make_tensor_value_info("input_ids", TensorProto.INT64, ["batch", "tokens"])
    out = helper.make_tensor_value_info("last_hidden_state", TensorProto.FLOAT, None)
    axes = helper.make_tensor("axes", TensorProto.INT64, [2], [2, 3])
    for name, shape in {"Size": r"\(\)", "Shape": r"\(2,\)", "Unsqueeze": r"\(3, 4, 1, 1\)"}.items():
        cast = helper.make_node("Cast", ["y"], ["last_hidden_state"], to=TensorProto.FLOAT)
        whole = helper.make_graph([nodes[name], cast], "g", [ids], [out], [axes])
        made = helper.make_model(whole, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
        onnx.save(made, tmp_path / "model.onnx")
        backend = load("onnx", tmp_path, repo.spec, _weights(), 1)  # type: ignore[arg-type]
        with pytest.raises(CorruptModelError, match=rf"output 'last_hidden_state' has the shape {shape} for 3 texts"):
            backend.forward(Batch(some_ids(4, 2, 1)))


def test_left_padding_where_the_graph_wants_it(repo: ModelFolder, tmp_path: Path) -> None:
    from dataclasses import replace

    backend = foreign(repo, tmp_path, inputs={"input_ids": TensorProto.INT64}, outputs={"last_hidden_state": HIDDEN})
    left = load("onnx", tmp_path, replace(repo.spec, dim=1, padding_side="left"), _weights(), 1)
    batch = Batch([np.array([1, 2, 3], np.int32), np.array([4], np.int32)])
    for either in (backend, left):
        assert [row.ravel().tolist() for row in either.forward(batch)] == [[1, 2, 3], [4]]


def _weights() -> object:
    from edge_embed.spec.weights import File, Weights

    return Weights(format="onnx", level="float32", files=(File(path="model.onnx"),))


def test_a_corrupt_graph_is_named(repo: ModelFolder, tmp_path: Path) -> None:
    path = repo.folder / repo.spec.weights[0].files[0].path
    (tmp_path / "model.onnx").write_bytes(path.read_bytes()[:500])
    with pytest.raises(CorruptModelError, match=r"cannot load .*model\.onnx"):
        load("onnx", tmp_path, repo.spec, _weights(), 1)  # type: ignore[arg-type]
    (tmp_path / "model.onnx").write_bytes(path.read_bytes())
    with pytest.raises(CorruptModelError, match=r"model\.onnx_data"):
        load("onnx", tmp_path, repo.spec, _weights(), 1)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["gguf", "onnx", pytest.param("openvino", marks=WITHOUT)])
def test_adapters_where_they_cannot_be_switched(repos: dict[str, ModelFolder], name: str) -> None:
    repo = repos[name]
    adapters = {"retrieval": repo.folder, "clustering": repo.folder}
    message = "cannot switch between the adapters of 'clustering', 'retrieval': convert one of them, merged"
    with pytest.raises(UnsupportedModelError, match=f"{repo.spec.weights[0].name} {message}"):
        load(name, repo.folder, repo.spec, repo.spec.weights[0], 1, adapters)


def test_an_image_part_for_llama_cpp(repos: dict[str, ModelFolder]) -> None:
    repo = repos["gguf"]
    with pytest.raises(UnsupportedModelError, match=r"is an image part, which llama\.cpp cannot run here: use ONNX"):
        load_images("gguf", repo.folder, repo.spec, repo.spec.weights[0], 1)
