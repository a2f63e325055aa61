"""backend="fastest": converted once where that is faster here, and else whatever would be loaded without it."""

from __future__ import annotations

import shutil
import warnings
from pathlib import Path

import numpy as np
import pytest

from edge_embed import Embedder
from edge_embed.cli.main import main
from edge_embed.errors import (
    EdgeEmbedError,
    FallbackWarning,
    MissingDependencyError,
    UnsupportedModelError,
    VerificationError,
)
from edge_embed.loading import prepare
from edge_embed.loading.conversions import conversions
from edge_embed.loading.find import places
from edge_embed.loading.request import load_request
from edge_embed.selection import speed
from edge_embed_convert import convert

from support import tiny

TEXTS = ["a cat sits", "the kitten rests", "stock markets, and a longer text about nothing"]


@pytest.fixture(scope="module")
def gguf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a tiny model as a GGUF file alone."""
    pytest.importorskip("llama_cpp")
    place = tmp_path_factory.mktemp("model")
    tiny.make("bert", place / "tiny", "mean")
    (folder,) = convert(place / "tiny", place / "out", ["gguf:Q8_0"], accept_loss=True)
    (file,) = folder.glob("*.gguf")
    return file


@pytest.fixture(autouse=True)
def machine(monkeypatch: pytest.MonkeyPatch) -> dict[str, float]:
    """Say what a measurement gives for each backend, on a machine with VNNI."""
    texts_a_second = {"onnx": 30.0, "gguf": 10.0}
    monkeypatch.setattr(speed, "_machine", lambda: "vnni")
    monkeypatch.setattr(speed, "_measure", lambda model, one, threads, workload: texts_a_second[one.backend])
    return texts_a_second


def test_it_is_converted_once_and_measured(gguf: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Embedder(gguf, backend="fastest", cache_dir=tmp_path) as model:
        assert (model.backend, model.level) == ("onnx", "onnx:int8")
        told = model.explain()
        assert f"converted from {gguf.name}, 3.0 times as fast in bulk as gguf:Q8_0, measured here; " in told
        assert " MB in the cache), " in told
        vectors = model.encode(TEXTS)
    monkeypatch.setattr(prepare, "_convert", None)
    monkeypatch.setattr(speed, "_measure", None)
    with Embedder(gguf, backend="fastest", cache_dir=tmp_path) as model:
        assert model.explain() == told
        np.testing.assert_array_equal(model.encode(TEXTS), vectors)
    with Embedder(gguf, cache_dir=tmp_path) as model:
        assert model.backend == "gguf"
        assert (model.encode(TEXTS) * vectors).sum(axis=1).min() > 0.98


def test_what_is_measured_as_slower_is_not_taken(gguf: Path, tmp_path: Path, machine: dict[str, float]) -> None:
    machine["onnx"] = 9.0
    with Embedder(gguf, backend="fastest", cache_dir=tmp_path) as model:
        assert model.level == "gguf:Q8_0"
        assert "as fast in bulk as onnx:int8, measured here, which was made of it and takes" in model.explain()
    (tmp_path / "tuned").rename(tmp_path / "before")
    machine["onnx"] = 0.0  # it failed
    with Embedder(gguf, backend="fastest", cache_dir=tmp_path) as model:
        assert model.level == "gguf:Q8_0"
    (tmp_path / "tuned").rename(tmp_path / "before, too")
    machine |= {"onnx": 1.0, "gguf": 0.0}
    with Embedder(gguf, backend="fastest", cache_dir=tmp_path) as model:
        assert "since gguf:Q8_0 cannot be run here" in model.explain()


def test_nothing_is_measured_where_that_is_switched_off(
    gguf: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(speed.SWITCH, "off")
    with Embedder(gguf, backend="fastest", cache_dir=tmp_path) as model:
        assert "4.0 times as fast in bulk as gguf:Q8_0, by what such machines gave" in model.explain()


@pytest.mark.parametrize(
    "error",
    [
        VerificationError("the levels fell below their bound"),
        MissingDependencyError("torch is not installed"),
        UnsupportedModelError("the architecture is not known"),
    ],
)
def test_what_cannot_be_converted_is_used_as_it_is(
    gguf: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: EdgeEmbedError
) -> None:
    def fail(*args: object) -> None:
        raise error

    monkeypatch.setattr(prepare, "_convert", fail)
    with pytest.warns(FallbackWarning, match=f"is used as it is, not as ONNX: {error}"):
        model = Embedder(gguf, backend="fastest", cache_dir=tmp_path)
    assert model.level == "gguf:Q8_0"
    assert f"not as ONNX: {error}" in model.explain()
    model.close()


def test_a_checkpoint_beside_a_slower_graph_is_converted(tmp_path: Path) -> None:
    """As repositories of sentence-transformers' models are, whose own int8 graphs are not taken unasked."""
    tiny.make("bert", tmp_path / "tiny", "mean")
    (folder,) = convert(tmp_path / "tiny", tmp_path / "out", ["onnx:float32"])
    shutil.copytree(folder / "onnx", tmp_path / "tiny" / "onnx")
    with Embedder(tmp_path / "tiny", cache_dir=tmp_path / "cache") as model:
        assert model.level == "onnx:float32"
    with Embedder(tmp_path / "tiny", backend="fastest", cache_dir=tmp_path / "cache") as model:
        assert model.level in ("onnx:int8", "onnx:float32")  # each is measured, and here they are alike
        assert "onnx:int8" in model.explain()
    assert len(conversions(tmp_path / "cache")) == 1


def test_else_it_is_as_without(gguf: Path, checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for reference in (f"{gguf.parent}:Q8_0", checkpoint):
        with Embedder(reference, cache_dir=tmp_path) as plain:
            told = plain.explain()
        with Embedder(reference, backend="fastest", cache_dir=tmp_path) as model:
            assert model.explain() == told
    monkeypatch.setattr(speed, "_machine", lambda: "apple")  # where its own engines are faster
    with warnings.catch_warnings(action="error"), Embedder(gguf, backend="fastest", cache_dir=tmp_path / "no") as model:
        assert model.backend == "gguf"
    assert not conversions(tmp_path / "no")


def test_commands(
    gguf: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("EDGE_EMBED_CACHE", str(tmp_path))
    assert main(["embed", "tea", "--model", str(gguf), "--backend", "fastest", "--json"]) == 0
    assert len(conversions(tmp_path)) == 1
    capsys.readouterr()
    assert main(["doctor", str(gguf)]) == 0
    told = " ".join(capsys.readouterr().out.split())
    assert 'backend="fastest" would load onnx:int8, converted from' in told


def test_of_a_family_the_repository_with_faster_weights_is_looked_for_first() -> None:
    name = "user/model-GGUF"
    assert places(load_request(name)) == [name]
    assert places(load_request(name, backend="fastest")) == ["user/model", name]
    assert places(load_request(f"{name}:Q8_0", backend="fastest")) == [name]
