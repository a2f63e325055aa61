"""Static models in every layout, against a reference of a few lines, sentence-transformers and, if there, model2vec."""

from __future__ import annotations

import json
import re
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from safetensors.numpy import save_file
from tokenizers import Tokenizer

from edge_embed import BackendError, CorruptModelError, Embedder, InputError, ModelError, UnsupportedModelError
from edge_embed.backends import Batch, load
from edge_embed.layouts.folder import read_folder
from edge_embed.selection.memory import memory_plans
from edge_embed_convert import convert

from support import letters

TEXTS = ["a", "", "hello, world!", "the quick brown fox jumps over the lazy dog 0123456789", "x?" * 9, "日本", "tea 日"]
TOLERANCE = 1e-6  # per element; 9.3e-8 was seen
DIM = 12
UNKNOWN = letters.WORDS.index("[UNK]")
Arrays = Mapping[str, NDArray[Any]]


def tensors(kind: str = "float32", quantised: bool = False) -> dict[str, NDArray[Any]]:
    """Make model2vec's tensors: a row a word, or fewer of them, with a mapping and weights."""
    random, words = np.random.default_rng(2), len(letters.WORDS)
    table = random.standard_normal((20 if quantised else words, DIM), np.float32)
    found: dict[str, NDArray[Any]] = {"embeddings": (table * 30 if kind == "int8" else table).astype(kind)}
    if quantised:
        found |= {"mapping": random.integers(0, 20, words), "weights": random.random(words, np.float32)}
    return found


def model2vec(folder: Path, arrays: Arrays, **config: Any) -> Path:
    """Write a folder as model2vec does."""
    folder.mkdir()
    save_file(dict(arrays), folder / "model.safetensors")
    letters.tokenizer().save(str(folder / "tokenizer.json"))
    (folder / "config.json").write_text(json.dumps({"model_type": "model2vec", "normalize": True, **config}))
    return folder


def sentence_transformers(
    folder: Path, arrays: Arrays, place: str = "0_StaticEmbedding", normalize: bool = False
) -> Path:
    """Write a folder as sentence-transformers does."""
    (folder / place).mkdir(parents=True)
    save_file({"embedding.weight": arrays["embeddings"]}, folder / place / "model.safetensors")
    letters.tokenizer().save(str(folder / place / "tokenizer.json"))
    kinds = [(place, "StaticEmbedding"), *([("1_Normalize", "Normalize")] * normalize)]
    modules = [
        {"idx": n, "name": str(n), "path": path, "type": f"sentence_transformers.models.{kind}"}
        for n, (path, kind) in enumerate(kinds)
    ]
    (folder / "modules.json").write_text(json.dumps(modules))
    return folder


def reference(arrays: Arrays, normalize: bool, unknown: bool) -> NDArray[np.float32]:
    """Embed the texts by the definition, in float64."""
    tokenizer, table = letters.tokenizer(), arrays["embeddings"].astype(np.float64)
    rows, weights = arrays.get("mapping", np.arange(len(table))), arrays.get("weights", np.ones(len(letters.WORDS)))
    out = np.zeros((len(TEXTS), DIM))
    for n, text in enumerate(TEXTS):
        ids = tokenizer.encode(text, add_special_tokens=False).ids
        ids = [one for one in ids if unknown or one != UNKNOWN]
        if ids:
            out[n] = (table[rows[ids]] * weights[ids][:, None]).mean(axis=0)
    norms = np.linalg.norm(out, axis=1, keepdims=True)
    return (out / np.where(norms == 0, 1, norms) if normalize else out).astype(np.float32)


@pytest.mark.parametrize("normalize", [True, False])
@pytest.mark.parametrize(
    ("kind", "quantised"), [("float32", False), ("float16", False), ("int8", False), ("float32", True), ("int8", True)]
)
def test_folders_of_model2vec(tmp_path: Path, kind: str, quantised: bool, normalize: bool) -> None:
    arrays = tensors(kind, quantised)
    folder = model2vec(tmp_path / "m2v", arrays, normalize=normalize)
    expected = reference(arrays, normalize, unknown=False)
    with Embedder(folder) as model:
        assert (model.spec.dim, model.spec.max_tokens, model.spec.normalize) == (DIM, 512, normalize)
        assert model.spec.weights[0].name == f"static:{kind}"
        np.testing.assert_allclose(model.encode(TEXTS), expected, atol=TOLERANCE * np.abs(expected).max())
        np.testing.assert_array_equal(np.stack([model.encode(text) for text in TEXTS]), model.encode(TEXTS))
        assert not model.encode("日本").any()


def test_model2vec_itself(tmp_path: Path) -> None:
    model2vec_package = pytest.importorskip("model2vec")
    for kind, quantised in [("float32", False), ("float32", True), ("float16", False)]:
        folder = model2vec(tmp_path / f"{kind}{quantised}", tensors(kind, quantised))
        expected = model2vec_package.StaticModel.from_pretrained(folder).encode(TEXTS)
        with Embedder(folder) as model:
            np.testing.assert_allclose(model.encode(TEXTS), expected, atol=1e-3 if kind == "float16" else TOLERANCE)


@pytest.mark.parametrize("place", ["0_StaticEmbedding", "."])
def test_folders_of_sentence_transformers(tmp_path: Path, place: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from sentence_transformers import SentenceTransformer
    arrays = tensors()
    folder = sentence_transformers(tmp_path / "static", arrays, place, normalize=True)
    (folder / "config_sentence_transformers.json").write_text(json.dumps({"prompts": {"query": "q: "}}))
    peer = SentenceTransformer(str(folder), device="cpu")
    with Embedder(folder) as model:
        found = model.encode(TEXTS)
        np.testing.assert_allclose(found, reference(arrays, normalize=True, unknown=True), atol=TOLERANCE)
        np.testing.assert_allclose(found, peer.encode(TEXTS), atol=TOLERANCE)
        np.testing.assert_allclose(
            model.encode(TEXTS, prompt_name="query"), peer.encode(TEXTS, prompt_name="query"), atol=TOLERANCE
        )


def test_long_texts_are_added_up_part_by_part(tmp_path: Path) -> None:
    arrays = tensors()
    folder = sentence_transformers(tmp_path / "static", arrays)
    text = "tea, " * 20_000
    ids = letters.tokenizer().encode(text, add_special_tokens=False).ids
    with Embedder(folder) as model:
        assert not model.spec.normalize
        expected = arrays["embeddings"][ids].astype(np.float64).mean(axis=0)
        np.testing.assert_allclose(model.encode([text, "tea"])[0], expected, atol=1e-5)
    with Embedder(folder, max_tokens=4) as model, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        np.testing.assert_allclose(model.encode(text), arrays["embeddings"][ids[:4]].mean(axis=0), atol=TOLERANCE)


def test_the_length_that_a_config_states(tmp_path: Path) -> None:
    assert read_folder(model2vec(tmp_path / "a", tensors(), max_length=64)).spec.max_tokens == 64
    assert read_folder(model2vec(tmp_path / "b", tensors(), max_length=None)).spec.max_tokens == (1 << 31) - 1
    with pytest.raises(CorruptModelError, match="max_length='long' is not a whole number"):
        read_folder(model2vec(tmp_path / "c", tensors(), max_length="long"))


def test_what_a_table_takes_is_planned(tmp_path: Path) -> None:
    (plan,) = memory_plans(read_folder(model2vec(tmp_path / "m2v", tensors())), None, 1024)
    assert plan.candidate == "static:float32"
    assert 0 < plan.weights <= (tmp_path / "m2v" / "model.safetensors").stat().st_size
    assert plan.compute < 1 << 20


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        ({"embeddings": None, "other": np.ones(3)}, "should hold one of 'embedding.weight', 'embeddings', of rows and"),
        ({"embeddings": np.ones(3, np.float32)}, "of rows and columns, and holds [3]"),
        ({"embeddings": np.ones((9, 3), np.uint8)}, "model.safetensors is U8; only 'BF16', 'F16', 'F32', 'F64', 'I8'"),
        ({"mapping": np.full(80, 20)}, "'mapping' names rows that the table of 20 lacks"),
        ({"weights": np.full(5, 1.0)}, f"'weights' is no list of {len(letters.WORDS)} finite numbers"),
        ({"weights": np.full(len(letters.WORDS), np.nan)}, "finite numbers"),
    ],
)
def test_damaged_tables_are_named(tmp_path: Path, spoil: Arrays, message: str) -> None:
    arrays = {name: value for name, value in {**tensors("float32", True), **spoil}.items() if value is not None}
    with pytest.raises(ModelError, match=re.escape(message)):
        Embedder(model2vec(tmp_path / "m2v", arrays))


def test_ids_beyond_the_table_are_named(tmp_path: Path) -> None:
    folder = model2vec(tmp_path / "m2v", {"embeddings": np.ones((5, DIM), np.float32)})
    with Embedder(folder) as model, pytest.raises(CorruptModelError, match=r"has 5 words: they belong to different"):
        model.encode("tea")


def test_what_static_models_cannot_do_is_refused(tmp_path: Path) -> None:
    folder = model2vec(tmp_path / "m2v", tensors())
    with pytest.raises(UnsupportedModelError, match="of which it takes the mean, not pooling='max'"):
        Embedder(folder, pooling="max")
    with pytest.raises(UnsupportedModelError, match="of which it takes the mean, not include_prompt=False"):
        Embedder(folder, spec={"include_prompt": False})
    with pytest.raises(InputError, match="has no weights for backend 'onnx'; it has 'static:float32'"):
        Embedder(folder, backend="onnx")
    with pytest.raises(UnsupportedModelError, match="is a table of token vectors, which runs as it is"):
        convert(folder, tmp_path / "out", ["onnx:int8"])
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    with pytest.raises(UnsupportedModelError, match="is a pickle, which can run code of its own"):
        Embedder(folder)
    (folder / "pytorch_model.bin").unlink()
    with pytest.raises(CorruptModelError, match=r"lacks model\.safetensors, the table of token vectors"):
        Embedder(folder)


def test_modules_that_a_static_model_may_not_have(tmp_path: Path) -> None:
    folder = sentence_transformers(tmp_path / "static", tensors(), normalize=True)
    modules = json.loads((folder / "modules.json").read_text())
    modules[1]["type"] = "sentence_transformers.models.LayerNorm"
    (folder / "modules.json").write_text(json.dumps(modules))
    with pytest.raises(UnsupportedModelError, match="modules StaticEmbedding, LayerNorm are not implemented"):
        read_folder(folder)


def test_a_closed_table_says_so(tmp_path: Path) -> None:
    repo = read_folder(model2vec(tmp_path / "m2v", tensors()))
    backend = load("static", repo.folder, repo.spec, repo.spec.weights[0], 1)
    backend.close()
    with pytest.raises(BackendError, match="this model was closed"):
        backend.forward(Batch([np.array([1], np.int32)]))


def test_special_tokens_as_text(tmp_path: Path) -> None:
    arrays = tensors()
    tokenizer: Tokenizer = letters.tokenizer()
    tokenizer.add_special_tokens(["[SEP]"])
    folder = model2vec(tmp_path / "m2v", arrays, normalize=False)
    tokenizer.save(str(folder / "tokenizer.json"))
    ids = letters.tokenizer().encode("sep", add_special_tokens=False).ids
    with Embedder(folder) as model, Embedder(folder, special_tokens="text") as guarded:
        separator = arrays["embeddings"][letters.WORDS.index("[SEP]")]
        np.testing.assert_allclose(model.encode("[SEP]"), separator, atol=TOLERANCE)
        np.testing.assert_allclose(guarded.encode("[SEP]"), arrays["embeddings"][ids].mean(axis=0), atol=TOLERANCE)
