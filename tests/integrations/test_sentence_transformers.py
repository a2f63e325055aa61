"""Our SentenceTransformer beside the original, on the same real model: the same calls, shapes, kinds and numbers."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sentence_transformers
import torch
from sentence_transformers import util

from edge_embed import Embedder, InputError
from edge_embed.integrations.sentence_transformers import SentenceTransformer

from support import tiny

TEXTS = ["Tea is served.", "The bus is late.", "Der Bus kommt zu spät, wie immer.", "A hot drink, please."]
NEAR = 2e-6  # the largest difference seen: 3e-7


@pytest.fixture(scope="module")
def ours(converted: Path) -> Iterator[SentenceTransformer]:
    model = SentenceTransformer(f"{converted}:float32")
    yield model
    model.embedder.close()


@pytest.fixture(scope="module")
def theirs(minilm: Path) -> Any:
    return sentence_transformers.SentenceTransformer(str(minilm), device="cpu")


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"normalize_embeddings": True},
        {"batch_size": 2, "show_progress_bar": False},
        {"prompt": "query: "},
        {"convert_to_tensor": True},
        {"convert_to_numpy": False},
        {"precision": "binary"},
        {"precision": "ubinary"},
        {"prompt_name": "query", "device": "cpu"},
        {"output_value": "sentence_embedding", "truncate_dim": None},
    ],
    ids=str,
)
@pytest.mark.parametrize(
    "texts", [TEXTS, TEXTS[0], TEXTS[:1], tuple(TEXTS), np.array(TEXTS)], ids=lambda t: type(t).__name__
)
def test_encode_gives_what_theirs_gives(ours: Any, theirs: Any, texts: Any, options: dict[str, Any]) -> None:
    if options.get("prompt_name"):
        theirs.prompts["query"] = ""
    mine, other = ours.encode(texts, **options), theirs.encode(texts, **options)
    assert type(mine) is type(other)
    for left, right in zip(mine, other, strict=True) if isinstance(mine, list) else [(mine, other)]:
        assert (type(left), left.shape, left.dtype) == (type(right), right.shape, right.dtype)
        np.testing.assert_allclose(np.asarray(left), np.asarray(right), atol=NEAR)


@pytest.mark.parametrize("precision", ["int8", "uint8"])
def test_codes_are_scaled_by_the_range_of_the_call(ours: Any, theirs: Any, precision: str) -> None:
    mine, other = ours.encode(TEXTS, precision=precision), theirs.encode(TEXTS, precision=precision)
    assert mine.dtype == other.dtype
    assert np.abs(mine.astype(int) - other.astype(int)).max() <= 1


def test_nothing_gives_nothing(ours: Any, theirs: Any) -> None:
    assert ours.encode([]).shape == theirs.encode([]).shape == (0,)


def test_sides_and_similarities(ours: Any, theirs: Any) -> None:
    queries, documents = ours.encode_query(TEXTS[:2]), ours.encode_document(TEXTS)
    np.testing.assert_allclose(queries, theirs.encode_query(TEXTS[:2]), atol=NEAR)
    np.testing.assert_allclose(documents, theirs.encode_document(TEXTS), atol=NEAR)
    for a, b in [(queries, documents), (torch.tensor(queries), documents), (list(queries), list(documents))]:
        found = ours.similarity(a, b)
        assert isinstance(found, torch.Tensor)
        torch.testing.assert_close(found, theirs.similarity(a, b), atol=NEAR, rtol=0)
    torch.testing.assert_close(
        ours.similarity_pairwise(documents, documents), theirs.similarity_pairwise(documents, documents)
    )
    hits = [[hit["corpus_id"] for hit in row] for row in util.semantic_search(queries, documents, top_k=2)]
    assert hits[0][0] == 0
    assert hits[1][0] == 1


def test_what_code_asks_of_a_model(ours: Any, theirs: Any) -> None:
    assert ours.get_sentence_embedding_dimension() == ours.get_embedding_dimension() == 384
    assert ours.max_seq_length == ours.get_max_seq_length() == theirs.max_seq_length
    assert ours.similarity_fn_name == theirs.similarity_fn_name == "cosine"
    assert ours.device == "cpu"
    assert ours.eval() is ours.to("cpu") is ours
    mine, other = ours.tokenize([*TEXTS, "tea " * 400]), theirs.tokenize([*TEXTS, "tea " * 400])
    for name in ("input_ids", "attention_mask"):
        assert torch.equal(mine[name], other[name])


def test_a_shorter_length_opens_the_model_anew(converted: Path, theirs: Any) -> None:
    model = SentenceTransformer(f"{converted}:float32", threads=1)
    before = model.embedder
    model.max_seq_length = 8
    assert (model.max_seq_length, model.embedder is before) == (8, False)
    with pytest.warns(UserWarning, match="cut"):
        short = model.encode("tea is served in the garden at five, or at six")
    theirs.max_seq_length, length = 8, theirs.max_seq_length
    np.testing.assert_allclose(short, theirs.encode("tea is served in the garden at five, or at six"), atol=NEAR)
    theirs.max_seq_length = length
    with pytest.raises(InputError, match="max_tokens"):
        model.max_seq_length = 10_000
    model.embedder.close()


def test_prompts_of_the_constructor(converted: Path, minilm: Path) -> None:
    given: dict[str, Any] = {"prompts": {"query": "ask: ", "passage": "say: "}, "default_prompt_name": "query"}
    theirs = sentence_transformers.SentenceTransformer(str(minilm), device="cpu", **given)
    ours = SentenceTransformer(f"{converted}:float32", **given)
    for call in ("encode", "encode_query", "encode_document"):
        np.testing.assert_allclose(getattr(ours, call)(TEXTS), getattr(theirs, call)(TEXTS), atol=NEAR)
    with pytest.raises(InputError, match="prompt_name='nope': choose from 'query'"):
        ours.encode("tea", prompt_name="nope")
    ours.embedder.close()


def test_a_model_that_does_not_normalise(tmp_path: Path) -> None:
    tiny.make("bert", tmp_path / "m")
    (tmp_path / "m" / "modules.json").write_text(
        '[{"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer"},'
        ' {"idx": 1, "name": "1", "path": "1_Pooling", "type": "sentence_transformers.models.Pooling"}]'
    )
    theirs = sentence_transformers.SentenceTransformer(str(tmp_path / "m"), device="cpu")
    ours = SentenceTransformer(tmp_path / "m", backend="onnx", cache_folder=str(tmp_path))
    for options in ({}, {"normalize_embeddings": True}):
        mine, other = ours.encode(["tea"], **options), theirs.encode(["tea"], **options)
        assert np.linalg.norm(mine) == pytest.approx(np.linalg.norm(other), rel=0.05)  # our weights are int8
    ours.embedder.close()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"device": "cuda"}, "device='cuda': engines here compute on the CPU"),
        ({"modules": [1]}, "modules: not taken here; the model is as its folder says"),
        ({"model_kwargs": {"dtype": "float16"}}, "model_kwargs: not taken here"),
        ({"token": "secret"}, "token: not taken here; set HF_TOKEN"),
        ({"similarity_fn_name": "manhattan"}, "similarity_fn_name='manhattan': choose from 'cosine', 'dot'"),
        ({"default_prompt_name": "nope"}, "prompt_name='nope': choose from"),
    ],
)
def test_what_is_refused_at_the_start(converted: Path, options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError) as caught:
        SentenceTransformer(f"{converted}:int8", **options)
    assert message in str(caught.value)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"output_value": "token_embeddings"}, "output_value='sentence_embedding' alone"),
        ({"batch_size": 0}, "batch_size of 1 or more"),
        ({"io_binding": True}, "io_binding: not taken here; the engine uses the threads"),
        ({"device": ["cpu", "cuda:0"]}, "device='cuda:0'"),
        ({"device": "cuda:0"}, "device='cuda:0'"),
        ({"truncate_dim": 100}, "100"),
        ({"precision": "int4"}, "precision"),
    ],
)
def test_what_is_refused_in_a_call(ours: Any, options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError) as caught:
        ours.encode(TEXTS, **options)
    assert message in str(caught.value)


def test_a_pool_holds_no_processes(ours: Any) -> None:
    """Code that starts one gets the vectors that it asks for, from the engine that uses all cores by itself."""
    pool = ours.start_multi_process_pool(["cpu", "cpu"])
    plain = ours.encode(TEXTS)
    np.testing.assert_array_equal(ours.encode(TEXTS, pool=pool, chunk_size=2), plain)
    np.testing.assert_array_equal(ours.encode_multi_process(TEXTS, pool), plain)
    np.testing.assert_array_equal(ours.encode_query(TEXTS, device=["cpu", "cpu"]), ours.encode_query(TEXTS))
    assert not pool["processes"]
    ours.stop_multi_process_pool(pool)
    with pytest.raises(InputError, match="device='cuda:1'"):
        ours.start_multi_process_pool(["cuda:1"])


def test_an_open_embedder_is_taken_as_it_is(fake: Embedder) -> None:
    model = SentenceTransformer(fake)
    assert model.prompts == {"query": "query: ", "document": "{text} .", "braces": "{{text}} {0}"}
    np.testing.assert_array_equal(model.encode_query("tea"), fake.encode_query("tea"))
    np.testing.assert_array_equal(model.encode_document("tea"), fake.encode_document("tea"))
    with model.truncate_embeddings(8):
        assert model.encode("tea").shape == (8,)
    assert model.encode("tea").shape == (16,)
    with pytest.raises(InputError, match="an Embedder is open already: give it 'max_tokens' when it is made"):
        model.max_seq_length = 5
