"""What comes after the rows, against sentence-transformers: every pooling, prompts left out of it, Dense modules."""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from safetensors.numpy import load_file, save_file

from edge_embed import CorruptModelError, Embedder, ModelSpec
from edge_embed.layouts.folder import read_folder
from edge_embed.pipeline.head import ACTIVATIONS, read_head
from edge_embed_convert import convert

from support.dense import MODES, PROMPT, TYPES, dense, describe

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Dense

TEXTS = ["", "a", "hello, world!", "the quick brown fox jumps over the lazy dog 0123456789", "x?" * 9]
TOLERANCE = 2e-6  # per element of unit vectors; the largest that was seen stands beside


def peer(folder: Path, texts: Sequence[str], prompt: str | None = None) -> NDArray[np.float32]:
    """Embed texts one by one with sentence-transformers."""
    with warnings.catch_warnings(), torch.inference_mode():
        warnings.simplefilter("ignore")
        model = SentenceTransformer(str(folder), device="cpu")
        return np.stack([model.encode(text, prompt=prompt) for text in texts])


def difference(model: Embedder, expected: NDArray[np.float32], prompt: str | None = None) -> float:
    """Return the largest difference of an element, texts alone and together."""
    together = model.encode(TEXTS, prompt=prompt)
    alone = np.stack([model.encode(text, prompt=prompt) for text in TEXTS])
    return float(max(np.abs(together - expected).max(), np.abs(alone - expected).max()))


@pytest.fixture(scope="module", params=["onnx:float32", "gguf:F32", "mlx:float32"])
def made(request: pytest.FixtureRequest, checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a tiny BERT of mean pooling in a format: the rows are those of any pooling."""
    pytest.importorskip({"gguf": "llama_cpp", "mlx": "mlx.core", "onnx": "onnx"}[request.param.partition(":")[0]])
    return convert(checkpoint, tmp_path_factory.mktemp("out"), [request.param])[0]


@pytest.fixture(scope="module")
def expected(checkpoint: Path) -> dict[tuple[str, bool, str | None], NDArray[np.float32]]:
    """Return the peer's vectors for each pooling, with its prompt and without, and for each prompt."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = SentenceTransformer(str(checkpoint), device="cpu")
        found = {}
        for pooling, included in itertools.product(MODES, (True, False)):
            flags = {f"pooling_mode_{mode}": name == pooling for name, mode in MODES.items()}
            model[1] = type(model[1])(32, include_prompt=included, **flags)
            for prompt in (PROMPT, None):
                found[pooling, included, prompt] = np.stack([model.encode(text, prompt=prompt) for text in TEXTS])
    return found


def test_poolings_of_sentence_transformers(
    made: Path, expected: dict[tuple[str, bool, str | None], NDArray[np.float32]]
) -> None:
    tolerance = 5e-4 if "GGUF" in made.name else TOLERANCE  # 2.8e-4; others 2.8e-7
    for pooling, included in itertools.product(MODES, (True, False)):
        with Embedder(made, spec={"pooling": pooling, "include_prompt": included}) as model:
            for prompt in (PROMPT, None):
                found = difference(model, expected[pooling, included, prompt], prompt)
                assert found < tolerance, (pooling, included, prompt)


def test_a_converted_folder_carries_its_dense_modules(source: Path, tmp_path: Path) -> None:
    describe(source, "weightedmean", False, [dense(32, 48, "gelu"), dense(48, 24, "identity", bias=False)])
    (folder,) = convert(source, tmp_path / "out", ["onnx:float32"], keep_checkpoint=True)
    expected = peer(source, TEXTS, PROMPT)
    assert expected.shape == (len(TEXTS), 24)
    np.testing.assert_allclose(peer(folder, TEXTS, PROMPT), expected, atol=TOLERANCE)
    with Embedder(folder) as model:
        assert difference(model, expected, PROMPT) < TOLERANCE  # 1.5e-7
        assert (model.spec.dim, model.spec.width, model.spec.include_prompt) == (24, 32, False)
        assert model.encode("tea", truncate_dim=24).shape == (24,)
        assert model.spec.dense[0].file.sha256
    other = ModelSpec.read(folder / "edge_embed.json").fingerprint
    weights = load_file(source / "2_Dense" / "model.safetensors")
    save_file({name: 2 * value for name, value in weights.items()}, source / "2_Dense" / "model.safetensors")
    (folder,) = convert(source, tmp_path / "other", ["onnx:float32"])
    assert ModelSpec.read(folder / "edge_embed.json").fingerprint != other
    (folder / "3_Dense" / "model.safetensors").write_bytes(b"\0" * 8)
    with pytest.raises(
        CorruptModelError, match=r"3_Dense/model.safetensors has 8 bytes, \d+ are expected: copy it again"
    ):
        Embedder(folder)


@pytest.mark.parametrize("activation", TYPES)
def test_activations_of_dense_modules(source: Path, activation: str) -> None:
    describe(source, "mean", True, [dense(32, 16, activation)])
    rows = np.random.default_rng(1).standard_normal((5, 32), np.float32)
    module = Dense.load(str(source / "2_Dense"))
    with torch.inference_mode():
        vectors = module({"sentence_embedding": torch.from_numpy(rows)})["sentence_embedding"].numpy()
    head = read_head(source, read_folder(source).spec)
    np.testing.assert_allclose(head.finish(rows), vectors, atol=2e-6)  # 7.2e-7
    alone = np.concatenate([head.finish(row[None]) for row in rows])
    np.testing.assert_array_equal(head.finish(rows), alone)  # whatever the company
    wide = np.float32([[-300.0, 0.0, 300.0]])
    assert np.isfinite(ACTIVATIONS[head.layers[0].activation](wide)).all()
