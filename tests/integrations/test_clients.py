"""Libraries that take a SentenceTransformer get the same from ours as from the original, on the same real model."""

from __future__ import annotations

import asyncio
import copy
import importlib
import pickle
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import sentence_transformers
from sentence_transformers import util
from sentence_transformers.sentence_transformer import evaluation

from edge_embed import Embedder, InputError
from edge_embed.integrations import sentence_transformers as drop_in

from support.absent import TOLD

TEXTS = ["Tea is served.", "Tea is being served.", "The bus is late.", "The bus comes late.", "A tax on windows."]
TOPICS = {
    "drinks": ["tea", "coffee", "milk", "a cup of tea", "black coffee", "cold milk"],
    "travel": ["a bus", "a train", "a tram", "the late bus", "a fast train", "the tram stop"],
}
NEAR = 2e-6


@pytest.fixture(scope="module")
def ours(converted: Path) -> Iterator[Any]:
    model = drop_in.SentenceTransformer(f"{converted}:float32")
    yield model
    model.embedder.close()


@pytest.fixture(scope="module")
def theirs(minilm: Path) -> Any:
    return sentence_transformers.SentenceTransformer(str(minilm), device="cpu")


@pytest.fixture
def in_place(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have what makes a SentenceTransformer by its name make ours."""
    monkeypatch.setattr(sentence_transformers, "SentenceTransformer", drop_in.SentenceTransformer)


def afresh(name: str, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """Import a library as a program would that imported it after the class was replaced."""
    pytest.importorskip(name.partition(".")[0], reason=TOLD)
    for module in [key for key in sys.modules if key == name or key.startswith(f"{name}.")]:
        monkeypatch.delitem(sys.modules, module)
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        pytest.skip(f"{error.name}: {TOLD}")


def test_isinstance_is_told_what_the_original_would(ours: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    assert isinstance(ours, sentence_transformers.SentenceTransformer)
    assert isinstance(ours, drop_in.SentenceTransformer)
    assert not isinstance(ours, sentence_transformers.CrossEncoder)
    monkeypatch.delitem(sys.modules, "sentence_transformers")
    assert ours.__class__ is drop_in.SentenceTransformer


def test_copies_and_pickles_open_the_model_again(converted: Path) -> None:
    model = drop_in.SentenceTransformer(f"{converted}:int8", prompts={"query": "ask: "}, threads=1)
    expected = model.encode_query(TEXTS)
    for again in (pickle.loads(pickle.dumps(model)), copy.deepcopy(model)):
        assert type(again) is drop_in.SentenceTransformer
        assert again.embedder is not model.embedder
        np.testing.assert_array_equal(again.encode_query(TEXTS), expected)
        again.embedder.close()
    model.embedder.close()


def test_utilities(ours: Any, theirs: Any) -> None:
    pairs = [util.paraphrase_mining(model, TEXTS, show_progress_bar=False) for model in (ours, theirs)]
    assert [pair[1:] for pair in pairs[0]] == [pair[1:] for pair in pairs[1]]
    for (score, *_), (other, *_) in zip(*pairs, strict=True):
        assert score == pytest.approx(other, abs=NEAR)
    vectors = [model.encode(TEXTS, convert_to_tensor=True) for model in (ours, theirs)]
    groups = [util.community_detection(rows, threshold=0.7, min_community_size=2) for rows in vectors]
    assert groups[0] == groups[1]
    assert {*map(frozenset, groups[0])} == {frozenset({0, 1}), frozenset({2, 3})}
    hits = [util.semantic_search(rows[:1], rows, top_k=2) for rows in vectors]
    assert [hit["corpus_id"] for hit in hits[0][0]] == [hit["corpus_id"] for hit in hits[1][0]] == [0, 1]


def test_evaluators(ours: Any, theirs: Any) -> None:
    queries = {"1": "a hot drink", "2": "public transport"}
    corpus = {str(n): text for n, text in enumerate(TEXTS)}
    for evaluator in (
        evaluation.EmbeddingSimilarityEvaluator(TEXTS[:3], TEXTS[1:4], [0.9, 0.1, 0.8]),
        evaluation.InformationRetrievalEvaluator(queries, corpus, {"1": {"0"}, "2": {"2"}}, show_progress_bar=False),
        evaluation.TripletEvaluator(TEXTS[:1], TEXTS[1:2], TEXTS[2:3]),
        evaluation.BinaryClassificationEvaluator(TEXTS[:2], TEXTS[1:3], [1, 0], show_progress_bar=False),
        evaluation.ParaphraseMiningEvaluator(corpus, [("0", "1"), ("2", "3")], show_progress_bar=False),
    ):
        found, expected = evaluator(ours), evaluator(theirs)
        assert found.keys() == expected.keys()
        for name, figure in expected.items():
            assert found[name] == pytest.approx(figure, abs=1e-5), name


@pytest.mark.parametrize(
    "options",
    [
        {"convert_to_tensor": True},
        {"convert_to_numpy": False},
        {"precision": None},
        {"normalize_embeddings": True, "convert_to_tensor": True},
    ],
    ids=str,
)
def test_nothing_and_one_text(ours: Any, theirs: Any, options: dict[str, Any]) -> None:
    for inputs in ([], "", "tea", [""], np.array(["tea"])):
        found, expected = ours.encode(inputs, **options), theirs.encode(inputs, **options)
        assert type(found) is type(expected)
        assert np.shape(found) == np.shape(expected)
        if len(found):
            np.testing.assert_allclose(np.stack([*found]), np.stack([*expected]), atol=NEAR)


def test_torchs_devices(ours: Any) -> None:
    import torch

    assert ours.encode("tea", device=torch.device("cpu")).shape == (384,)
    assert ours.to(torch.device("cpu")) is ours


def test_a_splitter_of_texts(in_place: None, converted: Path, minilm: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    splitters = pytest.importorskip("langchain_text_splitters", reason=TOLD)
    text = "Tea is served in the garden at five, isn't it? Der Bus kommt zu spät. " * 9
    sizes: dict[str, Any] = {"tokens_per_chunk": 20, "chunk_overlap": 4}
    ours = splitters.SentenceTransformersTokenTextSplitter(model_name=f"{converted}:int8", **sizes)
    monkeypatch.undo()
    theirs = splitters.SentenceTransformersTokenTextSplitter(model_name=str(minilm), **sizes)
    assert ours.split_text(text) == theirs.split_text(text)
    assert ours.count_tokens(text=text) == theirs.count_tokens(text=text)


def test_a_vocabulary_of_gguf_is_no_tokenizer_of_transformers(fake: Embedder) -> None:
    model: Any = drop_in.SentenceTransformer(fake)
    assert model.tokenizer.encode("tea")
    fake._opened.pipeline.tokenizer = object()  # type: ignore[assignment]
    with pytest.raises(InputError, match="inside of its GGUF file, where transformers cannot read it"):
        _ = model.tokenizer


def test_chroma(in_place: None, converted: Path, theirs: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("chromadb", reason=TOLD)
    from chromadb.utils.embedding_functions import SentenceTransformerEmbeddingFunction as Function

    monkeypatch.setattr(Function, "models", {})  # where it keeps what it has loaded
    function = Function(f"{converted}:float32", normalize_embeddings=True)
    np.testing.assert_allclose(function(TEXTS), theirs.encode(TEXTS), atol=NEAR)
    again = Function.build_from_config(function.get_config())
    np.testing.assert_array_equal(again(TEXTS), function(TEXTS))


def test_lancedb(in_place: None, converted: Path, theirs: Any) -> None:
    embeddings = pytest.importorskip("lancedb.embeddings", reason=TOLD)
    function = embeddings.get_registry().get("sentence-transformers").create(name=f"{converted}:float32")
    np.testing.assert_allclose(function.compute_source_embeddings(TEXTS), theirs.encode(TEXTS), atol=NEAR)
    assert function.ndims() == 384


def test_llama_index(in_place: None, converted: Path, theirs: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    module = afresh("llama_index.embeddings.huggingface", monkeypatch)
    ours = module.HuggingFaceEmbedding(f"{converted}:float32", device="cpu", query_instruction="ask: ", max_length=32)
    expected = theirs.encode(TEXTS, prompt="ask: ")
    np.testing.assert_allclose(ours.get_text_embedding_batch(TEXTS), theirs.encode(TEXTS), atol=NEAR)
    np.testing.assert_allclose(ours.get_query_embedding(TEXTS[0]), expected[0], atol=NEAR)
    np.testing.assert_allclose(asyncio.run(ours.aget_query_embedding(TEXTS[1])), expected[1], atol=NEAR)


def test_langchain(in_place: None, converted: Path, theirs: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    module = afresh("langchain_huggingface", monkeypatch)
    ours = module.HuggingFaceEmbeddings(
        model_name=f"{converted}:float32",
        model_kwargs={"device": "cpu"},
        encode_kwargs={"normalize_embeddings": True, "batch_size": 2},
    )
    np.testing.assert_allclose(ours.embed_documents(TEXTS), theirs.encode(TEXTS), atol=NEAR)
    np.testing.assert_allclose(ours.embed_query("tea"), theirs.encode("tea"), atol=NEAR)


def test_without_the_original(converted: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where it is not installed, our file stands for the whole of it."""
    pytest.importorskip("chromadb", reason=TOLD)
    from chromadb.utils.embedding_functions import SentenceTransformerEmbeddingFunction as Function

    monkeypatch.setitem(sys.modules, "sentence_transformers", drop_in)
    monkeypatch.setattr(Function, "models", {})
    function = Function(f"{converted}:int8")
    assert type(function._model) is drop_in.SentenceTransformer
    assert function(TEXTS)[0].shape == (384,)


def test_txtai(in_place: None, converted: Path, theirs: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    txtai = afresh("txtai", monkeypatch)
    ours = txtai.Embeddings(path=f"{converted}:float32", method="sentence-transformers", content=True)
    ours.index(TEXTS)
    scores = theirs.similarity(theirs.encode("a hot drink"), theirs.encode(TEXTS))[0]
    (found,) = ours.search("a hot drink", 1)
    assert found["text"] == TEXTS[int(scores.argmax())]
    assert found["score"] == pytest.approx(float(scores.max()), abs=1e-5)


def test_keybert(ours: Any, theirs: Any) -> None:
    keybert = pytest.importorskip("keybert", reason=TOLD)
    text = "Tea is served in the garden at five. The bus comes late, so there is time for cake."
    found, expected = (keybert.KeyBERT(model=model).extract_keywords(text, top_n=5) for model in (ours, theirs))
    assert [word for word, _ in found] == [word for word, _ in expected]


def test_bertopic(ours: Any, theirs: Any, tmp_path: Path) -> None:
    bertopic = pytest.importorskip("bertopic", reason=TOLD)
    from sklearn.cluster import KMeans
    from sklearn.decomposition import PCA

    found = []
    for model in (ours, theirs):
        parts = {"umap_model": PCA(2, random_state=0), "hdbscan_model": KMeans(2, n_init=4, random_state=0)}
        topics = bertopic.BERTopic(embedding_model=model, **parts)
        found.append(topics.fit_transform([*TOPICS["drinks"], *TOPICS["travel"]])[0])
    assert [*found[0]] == [*found[1]]
    assert len({*found[0][:6]}) == len({*found[0][6:]}) == 1


def test_mteb(ours: Any, theirs: Any) -> None:
    mteb = pytest.importorskip("mteb", reason=TOLD)
    tasks = importlib.import_module("mteb.mocks.mock_tasks")
    for name in ("MockSTSTask", "MockRetrievalTask", "MockClassificationTask", "MockPairClassificationTask"):
        found, expected = (
            mteb.evaluate(model, getattr(tasks, name)(), cache=None).task_results[0].get_score()
            for model in (ours, theirs)
        )
        assert found == pytest.approx(expected, abs=1e-4), name
    meta = importlib.import_module("mteb.models").ModelMeta.from_sentence_transformer_model(ours)
    assert (meta.name, meta.embed_dim, meta.max_tokens) == ("edge_embed/all-MiniLM-L6-v2-onnx-float32", 384, 256)
