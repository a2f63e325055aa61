"""Faults that engines and files have in the world, each simulated: the self-test must notice every one."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
from numpy.typing import NDArray

from edge_embed import CorruptModelError, Embedder, ModelSpec, SelfTestError
from edge_embed.backends import Batch
from edge_embed.backends.onnx.backend import OnnxBackend
from edge_embed.loading import selftest
from edge_embed.loading.selftest import SWITCH, self_test
from edge_embed.spec.golden import Fidelity, golden, golden_image, golden_vectors
from edge_embed.spec.image import ImageSpec
from edge_embed.spec.weights import Weights
from edge_embed_convert import convert

from support.fake import SPEC
from support.places import MINIATURES

Rows = list[NDArray[np.float32]]
needs_miniatures = pytest.mark.skipif(
    not MINIATURES.exists(), reason="the trained miniatures do not lie beside this checkout"
)


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give each test a cache of its own, so that no self-test counts as passed."""
    monkeypatch.setenv("EDGE_EMBED_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture(scope="module")
def last(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a trained causal model with last-token pooling, converted to int8."""
    out = tmp_path_factory.mktemp("last")
    return convert(MINIATURES / "mini-qwen3", out, ["onnx:int8"], task="retrieval")[0]


def copy(folder: Path, tmp_path: Path) -> Path:
    """Copy a folder without its hashes, which would notice what the self-test is to notice."""
    copied = Path(shutil.copytree(folder, tmp_path / "m"))
    (copied / "SHA256SUMS").unlink()
    spec = json.loads((copied / "edge_embed.json").read_text())
    for file in (file for weights in spec["weights"] for file in weights["files"]):
        file["sha256"] = None
    edit(copied, weights=spec["weights"])
    return copied


def edit(folder: Path, **changes: Any) -> None:
    path = folder / "edge_embed.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def test_a_sound_model_passes_once_and_is_not_asked_again(
    converted: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = ModelSpec.read(converted / "edge_embed.json")
    assert len(spec.golden) == 6
    assert golden_vectors(spec.golden, spec.dim).shape == (6, spec.dim)
    exact, int8 = (weights.fidelity for weights in spec.weights)
    assert exact is not None
    assert int8 is not None
    assert min(exact.cosines) > 0.99999 > max(int8.cosines) > min(int8.cosines) > 0.97
    Embedder(f"{converted}:int8").close()
    assert len(list(cache.glob("checked/*"))) == 1
    monkeypatch.setattr("edge_embed.loading.selftest.self_test", lambda *args: pytest.fail("tested again"))
    Embedder(f"{converted}:int8").close()
    monkeypatch.setenv(SWITCH, "always")
    with pytest.raises(pytest.fail.Exception, match="tested again"):
        Embedder(f"{converted}:int8")


def spoil(monkeypatch: pytest.MonkeyPatch, change: Callable[[Callable[[Batch], Rows], Batch], Rows]) -> None:
    """Put a fault around the engine's forward."""
    sound = OnnxBackend.forward
    monkeypatch.setattr(OnnxBackend, "forward", lambda self, batch: change(lambda given: sound(self, given), batch))


def nan(forward: Callable[[Batch], Rows], batch: Batch) -> Rows:
    return [rows * np.where(len(rows) > 30, np.nan, 1).astype(np.float32) for rows in forward(batch)]


def padded_as_text(forward: Callable[[Batch], Rows], batch: Batch) -> Rows:
    """Right-padded rows taken for left-padded ones."""
    width = max(map(len, batch.ids))
    full = [np.concatenate([ids, np.zeros(width - len(ids), np.int32)]) for ids in batch.ids]
    return [rows[width - len(ids) :] for rows, ids in zip(forward(Batch(full)), batch.ids, strict=True)]


def one_scale(forward: Callable[[Batch], Rows], batch: Batch) -> Rows:
    """Activations rounded with one scale for the batch."""
    rows = forward(batch)
    step = max(float(np.abs(row).max()) for row in rows) * len(rows) / 100
    return [(np.round(row / step) * step).astype(np.float32) for row in rows]


@pytest.mark.parametrize("fault", [nan, padded_as_text, one_scale])
def test_faults_of_engines(
    converted: Path, cache: Path, monkeypatch: pytest.MonkeyPatch, fault: Callable[..., Rows]
) -> None:
    spoil(monkeypatch, fault)
    with pytest.raises(
        SelfTestError, match=r"the self-test of onnx:float32 failed on this machine: .*cosine|beside other texts"
    ):
        Embedder(f"{converted}:float32")
    monkeypatch.setenv(SWITCH, "off")
    Embedder(f"{converted}:float32").close()


@needs_miniatures
@pytest.mark.parametrize(("step", "passes"), [(3, True), (0.5, False)])
def test_what_a_batch_may_change_goes_with_what_the_level_loses(fake: Embedder, step: float, passes: bool) -> None:
    """Massive channels: the vector is 0.02 off, alone; among others another 0.02 / step."""
    exact = np.eye(1, 16, dtype=np.float32)[0]
    near, far = exact.copy(), exact.copy()
    near[1], far[1] = 0.02, 0.02 + 0.02 / step
    spec = replace(fake.spec, dim=16, pooling="first", golden=(golden("a", 8, np.array([1], np.int32), exact),))
    fidelity = Fidelity(cosines=(1.0,), batch_deviation=1e-5)
    weights = Weights(format="onnx", level="int8", files=(), fidelity=fidelity)

    class Engine:
        runs = 0

        def forward(self, batch: Batch) -> Rows:
            self.runs += 1
            return [(far if self.runs == 1 else near)[None]]  # together, then alone

    class Words:
        def limited(self, limit: int) -> Any:
            return self

        def tokenize(self, texts: list[str]) -> Any:
            return SimpleNamespace(ids=[np.array([1], np.int32)])

    given: Any = (spec, weights, Words(), Engine())
    if passes:
        self_test(*given)
    else:
        with pytest.raises(SelfTestError, match=r"changed by 4.0e-02 beside other texts; 8.0e-03 is allowed"):
            self_test(*given)


def test_a_missing_closing_token(last: Path, cache: Path, tmp_path: Path) -> None:
    folder = copy(last, tmp_path)
    data = json.loads((folder / "tokenizer.json").read_text())
    data["post_processor"] = None
    (folder / "tokenizer.json").write_text(json.dumps(data))
    with pytest.raises(SelfTestError, match="gets other token ids than where the model was made: its tokenizer"):
        Embedder(folder)


@pytest.mark.parametrize("pooling", ["first", "last"])
def test_the_wrong_pooling(converted: Path, cache: Path, tmp_path: Path, pooling: str) -> None:
    folder = copy(converted, tmp_path)
    edit(folder, pooling=pooling)
    with pytest.raises(SelfTestError, match="has a cosine of"):
        Embedder(f"{folder}:float32")


def test_a_changed_tokenizer(converted: Path, cache: Path, tmp_path: Path) -> None:
    folder = copy(converted, tmp_path)
    data = json.loads((folder / "tokenizer.json").read_text())
    vocabulary = data["model"]["vocab"]
    vocabulary["bridge"], vocabulary["kettle"] = vocabulary["kettle"], vocabulary["bridge"]
    (folder / "tokenizer.json").write_text(json.dumps(data))
    with pytest.raises(SelfTestError, match="gets other token ids"):
        Embedder(f"{folder}:float32")


@pytest.mark.parametrize("level", ["float32", "int8"])
def test_a_corrupt_block_of_weights(converted: Path, cache: Path, tmp_path: Path, level: str) -> None:
    folder = copy(converted, tmp_path)
    spec = ModelSpec.read(folder / "edge_embed.json")
    path = folder / next(weights.files[-1].path for weights in spec.weights if weights.level == level)
    data = bytearray(path.read_bytes())
    block = np.random.default_rng(0).integers(0, 256, 64 << 10, np.uint8)
    if level == "float32":
        block = np.frombuffer(np.random.default_rng(0).standard_normal(len(block) // 4, np.float32).tobytes(), np.uint8)
    data[-len(block) - (1 << 16) : -(1 << 16)] = block.tobytes()
    path.write_bytes(data)
    with pytest.raises(SelfTestError, match="has a cosine of"):
        Embedder(f"{folder}:{level}")


def test_another_level_stands_in_where_none_was_named(
    converted: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from edge_embed import FallbackWarning

    spoil(monkeypatch, nan)
    sound, opened = OnnxBackend.__init__, []

    def the_second_is_sound(self: OnnxBackend, path: Path, *rest: Any) -> None:
        sound(self, path, *rest)
        opened.append("int8" if "int8" in path.name else "float32")
        if len(opened) == 2:
            monkeypatch.undo()

    monkeypatch.setattr(OnnxBackend, "__init__", the_second_is_sound)
    message = r"onnx:\w+ failed on this machine.*; onnx:\w+ .* is used instead"
    with pytest.warns(FallbackWarning, match=message) as caught:
        model = Embedder(converted)
    assert [one.filename for one in caught] == [__file__]
    assert sorted(opened) == ["float32", "int8"]
    assert f"onnx:{opened[1]}" in model.explain()


def test_golden_images_are_drawn_as_their_folder_means(monkeypatch: pytest.MonkeyPatch) -> None:
    """Folders of before carry vectors of the first drawing."""
    drawn: list[tuple[int, int]] = []
    monkeypatch.setattr(selftest, "sample_image", lambda *drawing: drawn.append(drawing))
    monkeypatch.setattr(selftest, "load_image", lambda *arguments: None)
    monkeypatch.setattr(selftest, "embed_images", lambda backend, images: np.eye(2, SPEC.dim, dtype=np.float32))
    images = [replace(golden_image(n, np.eye(2, SPEC.dim, dtype=np.float32)[n]), drawing=n + 1) for n in (0, 1)]
    fidelity = Fidelity(cosines=(1.0, 1.0), batch_deviation=0.0)
    weights = Weights(format="onnx", level="int8", files=(), part="image", fidelity=fidelity)
    spec = replace(SPEC, image=cast(ImageSpec, object()), golden_images=tuple(images))
    selftest.image_self_test(spec, weights, cast(Any, None))
    assert drawn == [(0, 1), (1, 2)]


def test_damaged_golden_vectors(converted: Path, tmp_path: Path) -> None:
    spec = ModelSpec.read(converted / "edge_embed.json")
    for vector in ("x" * 9, spec.golden[0].vector[:-8]):
        with pytest.raises(CorruptModelError, match="a golden vector"):
            golden_vectors((replace(spec.golden[0], vector=vector),), spec.dim)
