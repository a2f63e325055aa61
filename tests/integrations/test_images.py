"""Images by each framework's own calls give what Embedder gives, in the texts' space."""

from __future__ import annotations

import asyncio
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from edge_embed import Embedder, InputError

from support.absent import TOLD

TEXTS = ["Tea is served.", "The bus is late."]


def test_langchain(sees: Embedder, image: Path, reference: str) -> None:
    pytest.importorskip("langchain_core", reason=TOLD)
    from edge_embed.integrations.langchain import EdgeEmbeddings

    assert EdgeEmbeddings(sees).embed_image([str(image)]) == sees.encode_image([image]).tolist()
    with pytest.raises(InputError, match="image"):
        EdgeEmbeddings(reference).embed_image([str(image)])


def test_a_store_of_langchain(sees: Embedder, image: Path, tmp_path: Path) -> None:
    chroma = pytest.importorskip("langchain_chroma", reason=TOLD)
    import chromadb

    from edge_embed.integrations.langchain import EdgeEmbeddings

    client = chromadb.PersistentClient(str(tmp_path), chromadb.Settings(anonymized_telemetry=False))
    store = chroma.Chroma(client=client, embedding_function=EdgeEmbeddings(sees))
    store.add_texts(TEXTS)
    store.add_images([str(image)])
    (found,) = store.similarity_search_by_image(str(image), k=1)
    assert found.page_content not in TEXTS


def test_llama_index(sees: Embedder, image: Path, reference: str) -> None:
    pytest.importorskip("llama_index.core", reason=TOLD)
    from edge_embed.integrations.llama_index import EdgeMultiModalEmbedding

    ours = EdgeMultiModalEmbedding(reference)
    ours._embedder = sees
    expected = sees.encode_image(image).tolist()
    assert ours.get_image_embedding(str(image)) == expected
    assert ours.get_image_embedding(BytesIO(image.read_bytes())) == expected
    assert ours.get_image_embedding_batch([str(image)] * 2) == [expected] * 2
    assert asyncio.run(ours.aget_image_embedding_batch([str(image)])) == [expected]


def test_chroma(sees: Embedder, image: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    chromadb = pytest.importorskip("chromadb", reason=TOLD)
    from edge_embed.integrations import chroma

    monkeypatch.setattr(chroma, "open_model", lambda model, options: sees)
    pixels = np.asarray(Image.open(image))
    client = chromadb.PersistentClient(str(tmp_path), chromadb.Settings(anonymized_telemetry=False))
    collection = client.create_collection("pictures", embedding_function=chroma.EdgeEmbeddingFunction("fake"))
    collection.add(ids=["tea"], documents=TEXTS[:1])
    collection.add(ids=["one", "dark"], images=[pixels, 255 - pixels])
    found = collection.query(query_images=[pixels], n_results=1, include=["embeddings"])
    assert found["ids"] == [["one"]]
    np.testing.assert_allclose(found["embeddings"][0][0], sees.encode_document({"image": image}), atol=1e-6)


def test_lancedb(sees: Embedder, image: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lancedb = pytest.importorskip("lancedb", reason=TOLD)
    from lancedb.pydantic import LanceModel, Vector

    from edge_embed.integrations.lancedb import EdgeImageEmbeddingFunction

    monkeypatch.setattr(EdgeImageEmbeddingFunction, "_opened", lambda self: sees)
    function = EdgeImageEmbeddingFunction.create(model="fake")

    class Picture(LanceModel):  # type: ignore[misc]
        data: bytes = function.SourceField()
        vector: Vector(function.ndims()) = function.VectorField()  # type: ignore[valid-type]

    table = lancedb.connect(tmp_path).create_table("pictures", schema=Picture)
    table.add([{"data": image.read_bytes()}])
    again = lancedb.connect(tmp_path).open_table("pictures")
    expected = sees.encode_image(image)
    for query in (Image.open(image), "tea"):
        (found,) = again.search(query).limit(1).to_list()
        np.testing.assert_allclose(found["vector"], expected, atol=1e-6)
    for given in (str(image), image.read_bytes(), [str(image)]):
        np.testing.assert_array_equal(function.compute_source_embeddings(given), [expected])


def test_sentence_transformer(sees: Embedder, image: Path) -> None:
    from edge_embed.integrations.sentence_transformers import SentenceTransformer

    model: Any = SentenceTransformer(sees)
    picture = Image.open(image)
    expected = sees.encode_image(image)
    np.testing.assert_array_equal(model.encode(picture), expected)
    np.testing.assert_array_equal(model.encode({"image": str(image)}), expected)
    mixed = model.encode([picture, "tea", {"image": picture}])
    np.testing.assert_array_equal(mixed[[0, 2]], [expected] * 2)
    np.testing.assert_array_equal(mixed[1], sees.encode("tea"))
