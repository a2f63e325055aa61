"""Each framework's own calls on our object give what Embedder gives; what it writes down opens the same model again."""

from __future__ import annotations

import asyncio
import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge_embed import Embedder, InputError

from support.absent import TOLD

TEXTS = ["Tea is served.", "The bus is late.", "A hot drink."]


def test_langchain(fake: Embedder, reference: str) -> None:
    vectorstores = pytest.importorskip("langchain_core.vectorstores", reason=TOLD)
    from edge_embed.integrations.langchain import EdgeEmbeddings

    ours = EdgeEmbeddings(fake)
    assert ours.embed_documents(TEXTS) == fake.encode_document(TEXTS).tolist()
    assert ours.embed_query("tea") == fake.encode_query("tea").tolist()

    async def both() -> list[Any]:
        return await asyncio.gather(ours.aembed_documents(TEXTS), ours.aembed_query("tea"))

    assert asyncio.run(both()) == [ours.embed_documents(TEXTS), ours.embed_query("tea")]
    store = vectorstores.InMemoryVectorStore.from_texts(TEXTS, EdgeEmbeddings(reference, threads=1))
    assert [found.page_content for found in store.similarity_search("I want tea", k=1)] == [TEXTS[0]]
    with pytest.raises(InputError, match="an Embedder is open already: give it 'threads' when it is made"):
        EdgeEmbeddings(fake, threads=1)


def test_llama_index(reference: str, embedder: Embedder, image: Path) -> None:
    core = pytest.importorskip("llama_index.core", reason=TOLD)
    from edge_embed.integrations.llama_index import EdgeEmbedding, EdgeMultiModalEmbedding

    ours = EdgeEmbedding(reference, options={"threads": 1})
    assert ours.get_query_embedding("tea") == embedder.encode_query("tea").tolist()
    assert ours.get_text_embedding("tea") == embedder.encode_document("tea").tolist()
    assert ours.get_text_embedding_batch(TEXTS) == embedder.encode_document(TEXTS).tolist()
    assert asyncio.run(ours.aget_text_embedding_batch(TEXTS)) == ours.get_text_embedding_batch(TEXTS)
    assert asyncio.run(ours.aget_query_embedding("tea")) == ours.get_query_embedding("tea")
    written = ours.to_dict()
    assert json.loads(json.dumps(written))["model_name"] == reference
    for again in (EdgeEmbedding.from_dict(written), pickle.loads(pickle.dumps(ours))):
        assert again.get_text_embedding("tea") == ours.get_text_embedding("tea")
        assert again.options == {"threads": 1}
    index = core.VectorStoreIndex([core.schema.TextNode(text=text) for text in TEXTS], embed_model=ours)
    (found,) = index.as_retriever(similarity_top_k=1).retrieve("I want tea")
    assert found.node.get_content() == TEXTS[0]
    with pytest.raises(InputError, match=r"all-MiniLM-L6-v2 .*image"):
        EdgeMultiModalEmbedding(reference).get_image_embedding(str(image))


def test_haystack(fake: Embedder, sees: Embedder, image: Path, reference: str, embedder: Embedder) -> None:
    haystack = pytest.importorskip("haystack", reason=TOLD)
    from edge_embed.integrations.haystack import EdgeDocumentEmbedder, EdgeImageEmbedder, EdgeTextEmbedder

    documents = [haystack.Document(content=text, meta={"title": "of tea", "none": None}) for text in TEXTS]
    found = EdgeDocumentEmbedder(fake).run(documents)["documents"]
    assert [one.embedding for one in found] == fake.encode_document(TEXTS).tolist()
    assert [one.embedding for one in documents] == [None] * 3
    titled = EdgeDocumentEmbedder(fake, meta_fields_to_embed=["title", "none", "no"], embedding_separator=": ")
    (first,) = titled.run(documents[:1])["documents"]
    assert first.embedding == fake.encode_document(f"of tea: {TEXTS[0]}").tolist()
    assert EdgeTextEmbedder(fake).run("tea") == {"embedding": fake.encode_query("tea").tolist()}
    assert asyncio.run(EdgeTextEmbedder(fake).run_async("tea")) == EdgeTextEmbedder(fake).run("tea")
    assert asyncio.run(EdgeDocumentEmbedder(fake).run_async(documents))["documents"] == found
    pictures = [haystack.Document(meta={"file_path": str(image)})]
    (seen,) = EdgeImageEmbedder(sees).run(pictures)["documents"]
    assert seen.embedding == sees.encode_image(image).tolist()
    with pytest.raises(InputError, match=r"document 1 has no meta\['file_path'\], the path of its image"):
        EdgeImageEmbedder(sees).run([*pictures, haystack.Document(content="no image")])
    with pytest.raises(InputError, match="cannot be written down: configure with its reference"):
        EdgeTextEmbedder(fake).to_dict()


def test_haystacks_pipelines_are_written_down(reference: str, embedder: Embedder) -> None:
    haystack = pytest.importorskip("haystack", reason=TOLD)
    from edge_embed.integrations.haystack import EdgeDocumentEmbedder, EdgeImageEmbedder, EdgeTextEmbedder

    pipeline = haystack.Pipeline()
    pipeline.add_component("query", EdgeTextEmbedder(reference, {"threads": 1}))
    pipeline.add_component("documents", EdgeDocumentEmbedder(reference, meta_fields_to_embed=["title"]))
    pipeline.add_component("images", EdgeImageEmbedder(reference, file_path_meta_field="path"))
    again = haystack.Pipeline.loads(pipeline.dumps(), allowed_modules=["edge_embed.integrations.haystack"])
    again.get_component("query").warm_up()
    document = haystack.Document(content="tea", meta={"title": "T"})
    inputs = {"query": {"text": "tea"}, "documents": {"documents": [document]}, "images": {"documents": []}}
    found = again.run(inputs)
    assert found["query"]["embedding"] == embedder.encode_query("tea").tolist()
    assert found["documents"]["documents"][0].embedding == embedder.encode_document("T\ntea").tolist()
    for name in inputs:
        again.get_component(name).close()


def test_chroma(fake: Embedder, reference: str, embedder: Embedder, tmp_path: Path) -> None:
    chromadb = pytest.importorskip("chromadb", reason=TOLD)
    from edge_embed.integrations.chroma import EdgeEmbeddingFunction

    ours = EdgeEmbeddingFunction(fake)
    np.testing.assert_array_equal(ours(TEXTS), fake.encode_document(TEXTS))
    np.testing.assert_array_equal(ours.embed_query(TEXTS), fake.encode_query(TEXTS))
    with pytest.raises(InputError, match="cannot be written down"):
        ours.get_config()
    settings = chromadb.Settings(anonymized_telemetry=False)
    client = chromadb.PersistentClient(str(tmp_path), settings)
    function = EdgeEmbeddingFunction(reference, {"threads": 1})
    collection = client.create_collection("notes", embedding_function=function)
    collection.add(ids=["0", "1", "2"], documents=TEXTS)
    again = client.get_collection("notes")  # by what the collection noted
    found = again.query(query_texts=["tea is served"], n_results=1, include=["documents", "distances", "embeddings"])
    assert found["documents"] == [[TEXTS[0]]]
    assert again.configuration["embedding_function"].get_config() == {"model": reference, "options": {"threads": 1}}
    np.testing.assert_allclose(found["embeddings"][0][0], embedder.encode_document(TEXTS[0]), atol=1e-6)
    query, document = embedder.encode_query("tea is served"), embedder.encode_document(TEXTS[0])
    assert found["distances"][0][0] == pytest.approx(1 - float(query @ document), abs=1e-5)  # the space is cosine
    with pytest.raises(ValueError, match="the collection's vectors are of another model"):
        function.validate_config_update({"model": "a"}, {"model": "b"})


def test_lancedb(reference: str, embedder: Embedder, tmp_path: Path) -> None:
    lancedb = pytest.importorskip("lancedb", reason=TOLD)
    from lancedb.pydantic import LanceModel, Vector

    from edge_embed.integrations.lancedb import EdgeEmbeddingFunction

    function = EdgeEmbeddingFunction.create(model=reference, options={"threads": 1})

    class Note(LanceModel):  # type: ignore[misc]
        text: str = function.SourceField()
        vector: Vector(function.ndims()) = function.VectorField()  # type: ignore[valid-type]

    table = lancedb.connect(tmp_path).create_table("notes", schema=Note)
    table.add([{"text": text} for text in TEXTS])
    again = lancedb.connect(tmp_path).open_table("notes")  # by what the table noted
    (found,) = again.search("I want tea").limit(1).to_list()
    assert found["text"] == TEXTS[0]
    np.testing.assert_allclose(found["vector"], embedder.encode_document(TEXTS[0]), atol=1e-6)
    with pytest.raises(InputError, match="threads cannot be written down"):
        EdgeEmbeddingFunction.create(model=reference, options={"threads": object()}).ndims()


def test_llm(reference: str, embedder: Embedder, monkeypatch: pytest.MonkeyPatch, sees: Embedder, image: Path) -> None:
    llm = pytest.importorskip("llm", reason=TOLD)
    from edge_embed.integrations import llm as ours

    monkeypatch.setenv(ours.VARIABLE, f"mini={reference} user/repo:int8")
    models: list[Any] = []
    ours.register_embedding_models(models.append)
    assert [model.model_id for model in models] == ["edge-embed/mini", "edge-embed/user/repo:int8"]
    assert isinstance(models[0], llm.EmbeddingModel)
    assert list(models[0].embed_multi(TEXTS)) == embedder.encode_document(TEXTS).tolist()
    assert models[0].embed("tea") == embedder.encode_document("tea").tolist()
    with pytest.raises(InputError, match="image"):
        models[0].embed(image.read_bytes())
    models[0]._embedder = sees
    assert models[0].embed(image.read_bytes()) == sees.encode_image(image).tolist()


@pytest.mark.filterwarnings("ignore:Items? .*ReadOnly")  # its own types
def test_litellm(fake: Embedder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LITELLM_LOCAL_MODEL_COST_MAP", "True")  # importing it asks the network otherwise
    litellm = pytest.importorskip("litellm", reason=TOLD)
    from edge_embed.integrations.litellm import EdgeEmbedLLM

    litellm.custom_provider_map = [{"provider": "edge_embed", "custom_handler": EdgeEmbedLLM({"fake": fake})}]
    found = litellm.embedding("edge_embed/fake", input=TEXTS)
    assert [one["embedding"] for one in found.data] == fake.encode(TEXTS).tolist()
    assert found.usage.prompt_tokens == sum(count.tokens - count.cut for count in fake.count_tokens(TEXTS))
    small = litellm.embedding("edge_embed/fake", input=["tea"], truncate_dim=8)
    query = litellm.embedding("edge_embed/fake", input=["tea"], input_type="query")
    assert query.data[0]["embedding"] == fake.encode_query("tea").tolist()
    assert small.data[0]["embedding"] == fake.encode("tea", truncate_dim=8).tolist()
    later = asyncio.run(litellm.aembedding("edge_embed/fake", input=["tea"]))
    assert later.data[0]["embedding"] == fake.encode("tea").tolist()


def test_fastembed(reference: str, fake: Embedder) -> None:
    from edge_embed.integrations.fastembed import TextEmbedding

    ours = TextEmbedding(fake)
    np.testing.assert_array_equal(list(ours.embed(iter(TEXTS))), fake.encode(TEXTS))
    np.testing.assert_array_equal(list(ours.query_embed("tea")), [fake.encode_query("tea")])
    np.testing.assert_array_equal(list(ours.passage_embed(TEXTS)), fake.encode_document(TEXTS))
    assert ours.token_count(TEXTS) == sum(count.tokens for count in fake.count_tokens(TEXTS))
    assert (ours.embedding_size, TextEmbedding.get_embedding_size(reference)) == (16, 384)
    assert {key: value for key, value in _listed("BAAI/bge-small-en-v1.5").items() if key != "sources"} == {
        "model": "BAAI/bge-small-en-v1.5",
        "dim": 384,
    }
    opened = TextEmbedding(reference, threads=1, local_files_only=True)
    assert opened.model_name == reference
    opened.embedder.close()
    with pytest.raises(InputError, match="cuda chooses fastembed's engine: here backend= does"):
        TextEmbedding(reference, cuda=True)
    with pytest.raises(InputError, match="unknown 'nope'"):
        list(ours.embed(TEXTS, nope=1))


def _listed(name: str) -> dict[str, Any]:
    from edge_embed.integrations.fastembed import TextEmbedding

    return next(one for one in TextEmbedding.list_supported_models() if one["model"] == name)


def test_fastembeds_own_class_has_these_names() -> None:
    theirs = pytest.importorskip("fastembed", reason=TOLD).TextEmbedding
    from edge_embed.integrations.fastembed import TextEmbedding

    names = {"embed", "query_embed", "passage_embed", "token_count", "list_supported_models", "embedding_size"}
    assert names <= {*dir(theirs)} & {*dir(TextEmbedding)}


def test_sklearn(reference: str, embedder: Embedder) -> None:
    pytest.importorskip("sklearn", reason=TOLD)
    from sklearn.base import clone
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline

    from edge_embed.integrations.sklearn import TextEmbedder

    ours = TextEmbedder(reference, side="document", options={"threads": 1})
    np.testing.assert_array_equal(ours.fit_transform(TEXTS), embedder.encode_document(TEXTS))
    np.testing.assert_array_equal(ours.transform(np.array(TEXTS)), embedder.encode_document(TEXTS))
    assert list(ours.get_feature_names_out())[:2] == ["embedding0", "embedding1"]
    assert len(ours.get_feature_names_out()) == 384
    for again in (clone(ours), pickle.loads(pickle.dumps(ours))):
        assert again.get_params() == ours.get_params()
        np.testing.assert_array_equal(again.transform(TEXTS[:1]), ours.transform(TEXTS[:1]))
    drinks = ["tea", "coffee", "a glass of milk", "a bus", "a train", "the tram"]
    pipeline = make_pipeline(TextEmbedder(reference), LogisticRegression()).fit(drinks, [1, 1, 1, 0, 0, 0])
    assert pipeline.predict(["water to drink", "my car"]).tolist() == [1, 0]


SECRET = "hf_never_written_down"


def _haystack(model: str, options: dict[str, Any]) -> Any:
    from edge_embed.integrations.haystack import EdgeDocumentEmbedder

    return EdgeDocumentEmbedder(model, options).to_dict()


def _llama_index(model: str, options: dict[str, Any]) -> Any:
    from edge_embed.integrations.llama_index import EdgeEmbedding

    return EdgeEmbedding(model, options=options).to_dict()


def _chroma(model: str, options: dict[str, Any]) -> Any:
    from edge_embed.integrations.chroma import EdgeEmbeddingFunction

    return EdgeEmbeddingFunction(model, options).get_config()


def _lancedb(model: str, options: dict[str, Any]) -> Any:
    from edge_embed.integrations.lancedb import EdgeEmbeddingFunction

    return EdgeEmbeddingFunction.create(model=model, options=options).safe_model_dump()


def _sklearn(model: str, options: dict[str, Any]) -> Any:
    from edge_embed.integrations.sklearn import TextEmbedder

    return pickle.dumps(TextEmbedder(model, options=options))


def _langchain(model: str, options: dict[str, Any]) -> Any:
    from langchain_core.load import dumpd

    from edge_embed.integrations.langchain import EdgeEmbeddings

    return dumpd(EdgeEmbeddings(model, **options))


def _sentence_transformers(model: str, options: dict[str, Any]) -> Any:
    from edge_embed.integrations.sentence_transformers import SentenceTransformer

    return pickle.dumps(SentenceTransformer(model, **options))


@pytest.mark.parametrize(
    ("package", "write"),
    [
        ("haystack", _haystack),
        ("llama_index.core", _llama_index),
        ("chromadb", _chroma),
        ("lancedb", _lancedb),
        ("sklearn", _sklearn),
        ("langchain_core", _langchain),
        ("edge_embed", _sentence_transformers),
    ],
)
def test_what_is_written_down_holds_known_options_alone(package: str, write: Any, reference: str) -> None:
    pytest.importorskip(package, reason=TOLD)
    assert write(reference, {"threads": 1})
    with pytest.raises(InputError, match="unknown option 'thread'; did you mean 'threads'"):
        write(reference, {"thread": 1})
    with pytest.raises(InputError, match=r"token.*HF_TOKEN") as refused:
        write(reference, {"token": SECRET})
    assert SECRET not in str(refused.value)
