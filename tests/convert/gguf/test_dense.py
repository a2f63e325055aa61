"""Dense modules inside a GGUF file: as llama.cpp's converter writes them, computed once, whoever wrote the file."""

from __future__ import annotations

import shutil
import warnings
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import gguf
import llama_cpp
import numpy as np
import pytest
from numpy.typing import NDArray

from edge_embed import CorruptModelError, Embedder, UnsupportedModelError
from edge_embed.errors import ModelError
from edge_embed.formats.gguf import Header, Tensor
from edge_embed.formats.gguf_dense import holds_dense
from edge_embed_convert import convert
from edge_embed_convert.gguf import file as gguf_file
from edge_embed_convert.gguf.file import write_file
from edge_embed_convert.variant import open_variant
from edge_embed_convert.verification import verify

from support import tiny
from support.dense import dense, describe

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from sentence_transformers import SentenceTransformer

TEXTS = ["", "a", "hello, world!", "the quick brown fox jumps over the lazy dog 0123456789", "x?" * 9]
TOLERANCE = 3e-3  # per element of unit vectors, by F16 and GELU's table in float16; 9.3e-4 is the largest that was seen
LINEAR = [dense(32, 96, "identity", bias=False), dense(96, 32, "identity", bias=False)]


@pytest.fixture(scope="module", autouse=True)
def _few_probes() -> Iterator[None]:
    """Let a conversion verify little, where the tests themselves measure more."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(verify, "probes", lambda max_tokens: ["a", "some words"])
        yield


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a tiny EmbeddingGemma: mean pooling, then wider, then as wide as before."""
    folder = tmp_path_factory.mktemp("gemma") / "tiny-gemma"
    tiny.make("gemma3_text", folder)
    describe(folder, "mean", dense=LINEAR)
    return folder


@pytest.fixture(scope="module")
def expected(source: Path) -> NDArray[np.float32]:
    """Return the vectors by sentence-transformers, from tokens to Dense modules."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = SentenceTransformer(str(source), device="cpu")
        return np.stack([model.encode(text) for text in TEXTS])


@pytest.fixture(scope="module")
def made(source: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Return it in MLX, ONNX and GGUF."""
    return convert(source, tmp_path_factory.mktemp("out"), ["onnx:float32", "mlx:float32", "gguf:F16", "gguf:Q8_0"])


@pytest.fixture(scope="module")
def foreign(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the file as llama.cpp's converter would write it, without what we say of it."""
    opened = open_variant(source, None, None, None, {})
    path = tmp_path_factory.mktemp("foreign") / "x-F32.gguf"
    with pytest.MonkeyPatch.context() as patch:
        whole: Callable[..., dict[str, Any]] = gguf_file.metadata
        patch.setattr(
            gguf_file, "metadata", lambda *of: {k: v for k, v in whole(*of).items() if k != gguf_file.SPEC_KEY}
        )
        write_file(path, opened, "F32", source / "tokenizer.json")
    return path


def test_every_format_gives_the_vectors(made: list[Path], expected: NDArray[np.float32]) -> None:
    *exact, folder = sorted(made, key=lambda path: path.name.endswith("GGUF"))
    for path in exact:
        with Embedder(path) as model:
            np.testing.assert_allclose(model.encode(TEXTS), expected, atol=1e-5)  # 4e-7
    with Embedder(f"{folder}:F16") as model:
        assert (model.spec.dim, len(model.spec.dense)) == (32, 2)
        np.testing.assert_allclose(model.encode(TEXTS), expected, atol=TOLERANCE)
    with Embedder(f"{folder}:Q8_0") as model:
        assert (model.encode(TEXTS) * expected).sum(axis=1).min() > 0.99


def test_a_file_alone_gives_the_vectors(made: list[Path], tmp_path: Path, expected: NDArray[np.float32]) -> None:
    (path,) = (path for folder in made for path in folder.glob("*-F16.gguf"))
    reader = gguf.GGUFReader(path)
    keys = [f"gemma-embedding.dense_{n}_feat_{side}" for n in (2, 3) for side in ("in", "out")]
    assert [reader.fields[key].contents() for key in keys] == [32, 96, 96, 32]
    with Embedder(shutil.copy(path, tmp_path / "x-F16.gguf")) as model:
        assert model.spec.dense == ()
        np.testing.assert_allclose(model.encode(TEXTS), expected, atol=TOLERANCE)


def test_a_foreign_file_gives_the_vectors(foreign: Path, source: Path, expected: NDArray[np.float32]) -> None:
    with Embedder(foreign) as model:
        assert (model.spec.architecture, model.spec.pooling, model.spec.dense) == ("gemma-embedding", "mean", ())
        np.testing.assert_allclose(model.encode(TEXTS), expected, atol=TOLERANCE)


def test_beside_the_modules_own_files_they_are_computed_once(
    foreign: Path, source: Path, tmp_path: Path, expected: NDArray[np.float32]
) -> None:
    shutil.copytree(source, tmp_path / "both", ignore=shutil.ignore_patterns("model.safetensors"))
    for n in (2, 3):
        shutil.copy(source / f"{n}_Dense/model.safetensors", tmp_path / "both" / f"{n}_Dense")
    shutil.copy(foreign, tmp_path / "both")
    with Embedder(tmp_path / "both", backend="gguf") as model:
        assert len(model.spec.dense) == 2
        np.testing.assert_allclose(model.encode(TEXTS), expected, atol=TOLERANCE)
    with pytest.raises(
        UnsupportedModelError, match=r"pooling 'max' comes before the Dense modules, and llama-cpp-pyth"
    ):
        Embedder(tmp_path / "both", backend="gguf", spec={"pooling": "max"})


def test_llama_cpp_pools_and_computes_them_itself(foreign: Path, expected: NDArray[np.float32]) -> None:
    """As llama-server does, with nothing but the file."""
    model = llama_cpp.Llama(str(foreign), embedding=True, n_ctx=64, verbose=False)
    try:
        theirs = np.float32([model.embed(text, normalize=True) for text in TEXTS[1:]])
    finally:
        model.close()
    np.testing.assert_allclose(theirs, expected[1:], atol=TOLERANCE)


@pytest.mark.parametrize(
    "modules",
    [
        [dense(32, 32, "tanh", bias=False)],
        [dense(32, 32, "identity")],
        [dense(32, 24, "identity", bias=False)],
        [dense(32, 32, "identity", bias=False)] * 3,
    ],
    ids=["an activation", "a bias", "fewer numbers", "three"],
)
def test_what_llama_cpp_cannot_compute_stays_beside_the_file(
    modules: list[dict[str, Any]], source: Path, tmp_path: Path
) -> None:
    shutil.copytree(source, tmp_path / "model", ignore=shutil.ignore_patterns("?_Dense", "modules.json"))
    describe(tmp_path / "model", "mean", dense=modules)
    onnx, folder = convert(tmp_path / "model", tmp_path / "out", ["onnx:float32", "gguf:F16"])
    (path,) = folder.glob("*.gguf")
    assert not [tensor.name for tensor in gguf.GGUFReader(path).tensors if tensor.name.startswith("dense")]
    with Embedder(onnx) as exact, Embedder(folder) as model:
        np.testing.assert_allclose(model.encode(TEXTS), exact.encode(TEXTS), atol=TOLERANCE)
    with pytest.raises(CorruptModelError, match=r"lacks 2_Dense/model\.safetensors"):
        Embedder(shutil.copy(path, tmp_path / "x-F16.gguf"))


KEYS = {"general.architecture": "gemma-embedding", "gemma-embedding.embedding_length": 32}
KEYS |= {"gemma-embedding.dense_2_feat_in": 32, "gemma-embedding.dense_2_feat_out": 96}
SIZES = ("gemma-embedding.dense_2_feat_in", "gemma-embedding.dense_2_feat_out")
BACK = {"gemma-embedding.dense_3_feat_in": 96, "gemma-embedding.dense_3_feat_out": 32}
TENSORS = {"dense_2.weight": Tensor((32, 96), 0, 0), "dense_3.weight": Tensor((96, 32), 0, 0)}


@pytest.mark.parametrize(
    ("keys", "tensors", "message"),
    [
        ({}, {}, r"dense_2_feat_in=32 and _out=96, dense_2\.weight of \(\), and 32 numbers before it do not fit"),
        (BACK, {"dense_2.weight": Tensor((32, 95), 0, 0)}, r"dense_2\.weight of \(32, 95\), and 32 numbers before it"),
        (
            {},
            {"dense_2.weight": TENSORS["dense_2.weight"]},
            "its Dense modules give 96 numbers, and llama.cpp takes 32",
        ),
        ({**BACK, "gemma-embedding.embedding_length": 16}, TENSORS, "and 16 numbers before it do not fit"),
        (BACK, {**TENSORS, "dense_4.weight": Tensor((32, 32), 0, 0)}, r"holds 'dense_4\.weight', which is no Dense"),
        (dict.fromkeys(SIZES, 0), TENSORS, r"dense_2_feat_in=0 and _out=0, dense_2\.weight of \(32, 96\), and 32"),
        (BACK, {**TENSORS, "dense_2.bias": Tensor((96,), 0, 0)}, r"holds 'dense_2\.bias', which is no Dense module"),
    ],
)
def test_modules_that_llama_cpp_would_abort_on(keys: dict[str, Any], tensors: dict[str, Tensor], message: str) -> None:
    header = Header({**KEYS, **keys}, tensors, 0, Path("a.gguf"))
    with pytest.raises(ModelError, match=message):
        holds_dense(header)
    assert holds_dense(replace(header, metadata={**KEYS, **BACK}, tensors=TENSORS))
    assert holds_dense(replace(header, metadata={**KEYS, **BACK, "split.count": 2}, tensors={}))
    assert not holds_dense(replace(header, metadata=dict(list(KEYS.items())[:2]), tensors={}))
