"""The clients that people have, as pip gives them, against the service: each gets the very vectors of Embedder."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import cohere
import httpx
import huggingface_hub.constants
import huggingface_hub.errors
import numpy as np
import ollama
import openai
import pytest
import requests
import voyageai
import voyageai.error
from cohere.core.api_error import ApiError
from huggingface_hub import InferenceClient, close_session

from edge_embed import Embedder
from edge_embed.server.gather import gather
from edge_embed.vectors import Precision

from support.service import Running, running

TEXTS = ["the cat sat", "a dog ran", "the cat ran home"]


@pytest.fixture(scope="module")
def service(tiny_tokenizer: Path) -> Iterator[Running]:
    with running(tiny_tokenizer, paths=gather()) as found:
        yield found


def equal(got: Sequence[Sequence[float]], expected: Any) -> bool:
    """Whether numbers are the same to the last bit of a float32."""
    return np.array_equal(np.asarray(got, np.float32), expected)


def tokens(embedder: Embedder) -> int:
    return sum(embedder.count_tokens(text).tokens for text in TEXTS)


class TestOpenAI:
    @pytest.fixture
    def client(self, service: Running) -> Iterator[openai.OpenAI]:
        with openai.OpenAI(base_url=f"http://127.0.0.1:{service.port}/v1", api_key="none", max_retries=0) as client:
            yield client

    def test_base64_by_default_and_numbers(self, client: openai.OpenAI, embedder: Embedder) -> None:
        expected = embedder.encode(TEXTS)
        answer = client.embeddings.create(model="fake", input=TEXTS)
        assert equal([one.embedding for one in answer.data], expected)
        assert (answer.model, answer.usage.prompt_tokens) == ("fake", tokens(embedder))
        assert answer._request_id
        answer = client.embeddings.create(model="fake", input=TEXTS, encoding_format="float")
        assert equal([one.embedding for one in answer.data], expected)
        one = client.embeddings.create(model="fake", input=TEXTS[0], dimensions=8).data[0].embedding
        assert equal(one, embedder.encode(TEXTS[0], truncate_dim=8))

    @pytest.mark.parametrize("side", ["query", "document"])
    def test_the_models_name_says_the_side(self, client: openai.OpenAI, embedder: Embedder, side: str) -> None:
        encode = embedder.encode_query if side == "query" else embedder.encode_document
        assert f"fake:{side}" in [model.id for model in client.models.list()]
        assert client.models.retrieve(f"fake:{side}").object == "model"
        answer = client.embeddings.create(model=f"fake:{side}", input=TEXTS)
        assert equal([one.embedding for one in answer.data], encode(TEXTS))

    def test_refusals(self, client: openai.OpenAI) -> None:
        with pytest.raises(openai.BadRequestError, match="check_embedding_ctx_length=False") as caught:
            client.embeddings.create(model="fake", input=[[15339, 1917], [65]])
        assert (caught.value.param, caught.value.type) == ("input", "invalid_request_error")
        with pytest.raises(openai.NotFoundError, match="no model 'text-embedding-3-small' here"):
            client.embeddings.create(model="text-embedding-3-small", input="a")
        with pytest.raises(openai.BadRequestError, match="was trained for"):
            client.embeddings.create(model="fake", input="a", dimensions=5)

    def test_ids_of_the_models_own_where_they_are_let_in(self, tiny_tokenizer: Path, embedder: Embedder) -> None:
        ids = embedder._opened.pipeline.tokenizer.tokenize(TEXTS).ids
        with (
            running(tiny_tokenizer, paths=gather(), token_ids=True) as service,
            openai.OpenAI(base_url=f"http://127.0.0.1:{service.port}/v1", api_key="none") as client,
        ):
            answer = client.embeddings.create(model="fake", input=[row.tolist() for row in ids])
        assert equal([one.embedding for one in answer.data], embedder.encode(TEXTS))

    def test_azure(self, service: Running, embedder: Embedder) -> None:
        place = f"http://127.0.0.1:{service.port}"
        with openai.AzureOpenAI(azure_endpoint=place, api_key="none", api_version="2024-10-21") as client:
            answer = client.embeddings.create(model="fake", input=TEXTS)
        assert equal([one.embedding for one in answer.data], embedder.encode(TEXTS))


class TestCohere:
    @pytest.fixture
    def place(self, service: Running) -> Iterator[dict[str, Any]]:
        """Return how to reach the service, by connections that are closed at the end."""
        with httpx.Client(timeout=20) as http:
            yield {"api_key": "none", "base_url": f"http://127.0.0.1:{service.port}", "httpx_client": http}

    def test_version_2(self, place: dict[str, Any], embedder: Embedder) -> None:
        client = cohere.ClientV2(**place)
        types = ["float", "int8", "uint8", "binary", "ubinary", "base64"]
        got = client.embed(model="fake", texts=TEXTS, input_type="search_query", embedding_types=types)
        expected = embedder.encode_query(TEXTS)
        assert equal(got.embeddings.float_ or [], expected)
        precisions: tuple[Precision, ...] = ("int8", "uint8", "binary", "ubinary")
        for precision in precisions:
            rows = getattr(got.embeddings, precision)
            assert rows == embedder.encode_query(TEXTS, precision=precision).tolist()
        assert [base64.b64decode(one) for one in got.embeddings.base64 or []] == [row.tobytes() for row in expected]
        mixed: Any = [{"content": [{"type": "text", "text": text}]} for text in TEXTS]
        got = client.embed(model="fake", inputs=mixed, input_type="search_document", output_dimension=8)
        assert equal(got.embeddings.float_ or [], embedder.encode_document(TEXTS, truncate_dim=8))

    @pytest.mark.filterwarnings("ignore::DeprecationWarning")  # cohere's client uses what pydantic will drop
    def test_version_1(self, place: dict[str, Any], embedder: Embedder) -> None:
        client = cohere.Client(**place)
        got: Any = client.embed(model="fake", texts=TEXTS, input_type="search_document")
        assert got.response_type == "embeddings_floats"
        assert equal(got.embeddings, embedder.encode_document(TEXTS))
        typed: Any = client.embed(model="fake", texts=TEXTS, input_type="clustering", embedding_types=["int8"])
        assert typed.embeddings.int8 == embedder.encode(TEXTS, precision="int8").tolist()

    def test_refusals(self, place: dict[str, Any]) -> None:
        client = cohere.ClientV2(**place)
        with pytest.raises(ApiError) as caught:
            client.embed(model="embed-v4.0", texts=TEXTS, input_type="search_query", embedding_types=["float"])
        assert caught.value.status_code == 404
        assert caught.value.body["message"].startswith("no model 'embed-v4.0' here")


class TestVoyage:
    @pytest.fixture
    def client(self, service: Running, monkeypatch: pytest.MonkeyPatch) -> Iterator[voyageai.Client]:
        with requests.Session() as session:
            monkeypatch.setattr(voyageai, "requestssession", session)
            yield voyageai.Client(api_key="none", base_url=f"http://127.0.0.1:{service.port}/v1", max_retries=0)

    def test_sides_sizes_and_precisions(self, client: voyageai.Client, embedder: Embedder) -> None:
        got = client.embed(TEXTS, model="fake", input_type="query")
        assert equal(got.embeddings, embedder.encode_query(TEXTS))
        assert got.total_tokens > 0
        got = client.embed(TEXTS, model="fake", output_dimension=8)
        assert equal(got.embeddings, embedder.encode(TEXTS, truncate_dim=8))
        precisions: tuple[Precision, ...] = ("int8", "uint8", "binary", "ubinary")
        for precision in precisions:
            got = client.embed(TEXTS, model="fake", output_dtype=precision)
            assert np.array_equal(got.embeddings, embedder.encode(TEXTS, precision=precision))

    def test_refusals(self, client: voyageai.Client) -> None:
        with pytest.raises(voyageai.error.InvalidRequestError, match="tokens"):
            client.embed(["the cat " * 50], model="fake", truncation=False)
        with pytest.raises(voyageai.error.VoyageError, match="no model 'voyage-3' here"):
            client.embed(TEXTS, model="voyage-3")


class TestOllama:
    @pytest.fixture
    def client(self, service: Running) -> Iterator[ollama.Client]:
        client = ollama.Client(host=f"http://127.0.0.1:{service.port}")
        yield client
        client.close()

    def test_embed(self, client: ollama.Client, embedder: Embedder) -> None:
        got = client.embed(model="fake:latest", input=TEXTS, options={"num_ctx": 4}, keep_alive="5m")
        assert equal(got.embeddings, embedder.encode(TEXTS))
        assert got.prompt_eval_count == tokens(embedder)
        assert equal(client.embed(model="fake:query", input=TEXTS[0]).embeddings, [embedder.encode_query(TEXTS[0])])
        assert equal(
            client.embed(model="fake", input=TEXTS, dimensions=8).embeddings, embedder.encode(TEXTS, truncate_dim=8)
        )
        assert equal(client.embeddings(model="fake", prompt=TEXTS[0]).embedding, embedder.encode(TEXTS[0]))
        assert client.embed(model="fake", input=[]).embeddings == []

    def test_lists(self, client: ollama.Client) -> None:
        assert "fake:latest" in [model.model for model in client.list().models]
        assert client.show("fake:latest").capabilities == ["embedding"]
        client.embed(model="fake", input="a")
        assert [model.model for model in client.ps().models] == ["fake:latest"]

    def test_refusals(self, client: ollama.Client) -> None:
        with pytest.raises(ollama.ResponseError, match="no model 'llama3' here") as caught:
            client.embed(model="llama3", input="a")
        assert caught.value.status_code == 404


class TestHuggingFace:
    def test_feature_extraction(self, service: Running, embedder: Embedder, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
        client = InferenceClient(base_url=f"http://127.0.0.1:{service.port}")
        assert equal(client.feature_extraction(TEXTS[0]), [embedder.encode(TEXTS[0])])
        got = client.feature_extraction(TEXTS, normalize=True, prompt_name="query", truncate=True)  # type: ignore[arg-type]
        assert equal(got, embedder.encode_query(TEXTS))
        with pytest.raises(huggingface_hub.errors.BadRequestError, match="unknown prompt 'poem'"):
            client.feature_extraction(TEXTS[0], prompt_name="poem")
        close_session()

    def test_tokens(self, service: Running) -> None:
        """As TEI tells them; a text that spells a special token is a text."""
        status, _, body = service.ask(["ab [PAD]"], "/tokenize")
        assert status == 200
        assert "".join(piece["text"] for piece in body[0] if not piece["special"]) == "ab[PAD]"
