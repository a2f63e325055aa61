"""The requests of tools that cannot be installed here: what each sends, and what it reads of the answer.

Open WebUI's are those of the package open-webui 0.12.4 (retrieval/utils.py, routers/), dify's of dify-plugin 0.7.4 (its
class OAICompatEmbeddingModel). AnythingLLM goes through openai's client for Node.js; its and Spring AI's requests, and
dify's of images, are as their sources were read.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from edge_embed import Embedder
from edge_embed.server.gather import gather

from support.drawings import photograph
from support.seeing import SEES, SeeingLoader, seeing
from support.service import Running, model, running

KEY = "of-the-tool"
TEXTS = ["the cat sat", "a dog\nran", "the cat ran home"]
BEARER = {"Content-Type": "application/json", "Authorization": f"Bearer {KEY}"}


@pytest.fixture(scope="module")
def service(tiny_tokenizer: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    keys = tmp_path_factory.mktemp("keys") / "keys"
    keys.write_text(f"{KEY}\n")
    with running(tiny_tokenizer, paths=gather(), api_key_file=keys) as found:
        yield found


def post(service: Running, path: str, body: object, headers: dict[str, str]) -> Any:
    status, told, answer = service.send("POST", path, json.dumps(body).encode(), headers)
    assert status == 200, answer
    assert "edge-embed-ignored" not in told
    return answer


def png(pixels: Any) -> bytes:
    file = BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def equal(found: Sequence[Sequence[float]], expected: Any) -> bool:
    return np.array_equal(np.asarray(found, np.float32), expected)


class TestOpenWebUI:
    """It takes the data in the order that they come in, and passes over `index`."""

    def test_openai(self, service: Running, embedder: Embedder) -> None:
        body = {"input": TEXTS, "model": "fake"}
        answer = post(service, "/v1/embeddings", body, {**BEARER, "X-OpenWebUI-User-Name": "somebody"})
        assert equal([one["embedding"] for one in answer["data"]], embedder.encode(TEXTS))

    def test_its_prefix_as_a_prompt(self, service: Running, embedder: Embedder) -> None:
        """RAG_EMBEDDING_PREFIX_FIELD_NAME names the field that has RAG_EMBEDDING_QUERY_PREFIX."""
        for field, prefix in (("prompt", "query: "), ("prompt_name", "query"), ("input_type", "query")):
            answer = post(service, "/v1/embeddings", {"input": TEXTS, "model": "fake", field: prefix}, BEARER)
            assert equal([one["embedding"] for one in answer["data"]], embedder.encode_query(TEXTS)), field

    def test_azure(self, service: Running, embedder: Embedder) -> None:
        path = "/openai/deployments/fake/embeddings?api-version=2024-10-21"
        headers = {"Content-Type": "application/json", "api-key": KEY}
        answer = post(service, path, {"input": TEXTS}, headers)
        assert equal([one["embedding"] for one in answer["data"]], embedder.encode(TEXTS))

    def test_ollama(self, service: Running, embedder: Embedder) -> None:
        answer = post(service, "/api/embed", {"input": TEXTS, "model": "fake", "truncate": True}, BEARER)
        assert equal(answer["embeddings"], embedder.encode(TEXTS))
        status, _, told = service.send(
            "POST", "/api/embed", b'{"input": ["a"], "model": "x", "truncate": true}', BEARER
        )
        assert (status, told["error"].startswith("no model 'x' here")) == (404, True)

    def test_what_it_hands_on_for_its_own_users(self, service: Running, embedder: Embedder) -> None:
        """A client of Open WebUI's Ollama API: what is not null goes on as it came."""
        body = {"model": "fake:latest", "input": TEXTS, "truncate": True, "options": {"num_ctx": 8}, "keep_alive": "5m"}
        status, told, answer = service.send("POST", "/api/embed", json.dumps(body).encode(), BEARER)
        assert (status, told["edge-embed-ignored"]) == (200, "options.num_ctx, keep_alive")
        assert equal(answer["embeddings"], embedder.encode(TEXTS))
        answer = post(service, "/api/embeddings", {"model": "fake:latest", "prompt": TEXTS[0]}, BEARER)
        assert equal([answer["embedding"]], embedder.encode(TEXTS[:1]))

    def test_a_connection_is_tried_and_models_are_listed(self, service: Running) -> None:
        found = {
            path: service.send("GET", path, b"", BEARER)[2] for path in ("/v1/models", "/api/version", "/api/tags")
        }
        assert "fake" in [one["id"] for one in found["/v1/models"]["data"]]
        assert found["/api/version"]["version"]
        assert {"fake:latest", "fake:query"} <= {one["model"] for one in found["/api/tags"]["models"]}
        assert service.send("GET", "/api/ps", b"", BEARER)[2]["models"][0]["model"] == "fake:latest"
        status, _, told = service.send("GET", "/api/version", b"", {"Authorization": "Bearer wrong"})
        assert (status, isinstance(told["error"], str)) == (401, True)

    def test_a_wrong_key(self, service: Running) -> None:
        body = json.dumps({"input": TEXTS, "model": "fake"}).encode()
        assert service.send("POST", "/v1/embeddings", body, {**BEARER, "Authorization": "Bearer "})[0] == 401


class TestDify:
    def test_a_new_provider_is_tried_with_one_text(self, service: Running) -> None:
        assert post(service, "/v1/embeddings", {"input": "ping", "model": "fake"}, BEARER)["model"] == "fake"

    def test_texts(self, service: Running, embedder: Embedder) -> None:
        body = {"input": TEXTS, "model": "fake", "user": "abc-123", "encoding_format": "float"}
        answer = post(service, "/v1/embeddings", body, BEARER)
        assert equal([one["embedding"] for one in answer["data"]], embedder.encode(TEXTS))
        assert answer["usage"]["total_tokens"] == sum(embedder.count_tokens(text).tokens for text in TEXTS)

    def test_an_image(self, tiny_tokenizer: Path) -> None:
        image = png(photograph(20, 12, 1))
        part = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{base64.b64encode(image).decode()}"}}
        body = {"messages": [{"role": "user", "content": [part]}], "model": "fake", "encoding_format": "float"}
        models = [model("fake", image=SEES.image)]
        with running(tiny_tokenizer, models, gather(), SeeingLoader(tiny_tokenizer)) as found:
            answer = post(found, "/v1/embeddings", body, BEARER)
        with seeing(tiny_tokenizer) as own:
            assert equal([one["embedding"] for one in answer["data"]], [own.encode_image(image)])
        assert answer["usage"]["prompt_tokens"] >= 0


NODE = {"User-Agent": "OpenAI/JS 6.49.0", "X-Stainless-Lang": "js", "X-Stainless-Retry-Count": "0"}


class TestAnythingLLM:
    """openai's client for Node.js, which wants base64 unless it is told otherwise; its model may be null."""

    @pytest.mark.parametrize("name", ["fake", None])
    def test_texts(self, service: Running, embedder: Embedder, name: str | None) -> None:
        body = {"model": name, "input": TEXTS, "encoding_format": "base64"}
        answer = post(service, "/v1/embeddings", body, {**BEARER, **NODE, "Accept": "application/json"})
        rows = [np.frombuffer(base64.b64decode(one["embedding"]), "<f4") for one in answer["data"]]
        assert equal(rows, embedder.encode(TEXTS))

    def test_an_error_has_a_message(self, service: Running) -> None:
        body = json.dumps({"model": "text-embedding-ada-002", "input": TEXTS}).encode()
        status, _, told = service.send("POST", "/v1/embeddings", body, {**BEARER, **NODE})
        assert status == 404
        assert "no model 'text-embedding-ada-002' here" in told["error"]["message"]


class TestSpringAI:
    @pytest.mark.parametrize("more", [{}, {"dimensions": 8, "user": "somebody"}])
    def test_texts(self, service: Running, embedder: Embedder, more: dict[str, Any]) -> None:
        body = {"input": TEXTS, "model": "fake", "encoding_format": "float", **more}
        answer = post(service, "/v1/embeddings", body, {**BEARER, "Accept": "application/json"})
        rows = sorted(answer["data"], key=lambda one: one["index"])
        assert equal([one["embedding"] for one in rows], embedder.encode(TEXTS, truncate_dim=more.get("dimensions")))
        assert {one["object"] for one in rows} == {"embedding"}
        assert answer["object"] == "list"
        assert all(isinstance(answer["usage"][name], int) for name in ("prompt_tokens", "total_tokens"))
