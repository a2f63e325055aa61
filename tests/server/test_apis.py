"""What every API can say, over HTTP: an error in an input's place, and which of several models is meant."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge_embed import Embedder
from edge_embed.backends.fake import FakeBackend
from edge_embed.pipeline.tokenizer import TextTokenizer
from edge_embed.server.gather import gather

from support.fake import SPEC
from support.service import Running, model, running

LONG = "the cat " * 50
TEXTS = ["tea", LONG, "tax"]


@pytest.fixture(scope="module")
def service(tiny_tokenizer: Path) -> Iterator[Running]:
    with running(tiny_tokenizer, [model("fake"), model("other", max_tokens=12)], gather()) as found:
        yield found


def openai(body: Any) -> tuple[list[Any], str]:
    return [one.get("embedding") for one in body["data"]], body["data"][1]["error"]["message"]


def cohere(body: Any) -> tuple[list[Any], str]:
    (told,) = body["errors"]
    assert told["index"] == 1
    return body["embeddings"]["float"], told["message"]


def ollama(body: Any) -> tuple[list[Any], str]:
    (told,) = body["errors"]
    assert told["index"] == 1
    return body["embeddings"], told["message"]


def tei(body: Any) -> tuple[list[Any], str]:
    return [one if isinstance(one, list) else None for one in body], body[1]["error"]


@pytest.mark.parametrize(
    ("path", "fields", "read"),
    [
        ("/v1/embeddings", {"input": TEXTS, "truncate": False}, openai),
        ("/v1/embeddings", {"input": TEXTS, "truncation": False}, openai),  # Voyage's word
        ("/v2/embed", {"texts": TEXTS, "truncate": "NONE"}, cohere),
        ("/v1/embed", {"texts": TEXTS, "truncate": "NONE", "embedding_types": ["float"]}, cohere),
        ("/api/embed", {"input": TEXTS, "truncate": False}, ollama),
        ("/embed", {"inputs": TEXTS, "truncate": False}, tei),
        ("/", {"inputs": TEXTS, "truncate": False}, tei),
    ],
)
def test_a_text_that_cannot_be_embedded_costs_the_others_nothing(
    service: Running, tiny_tokenizer: Path, path: str, fields: dict[str, Any], read: Any
) -> None:
    assert service.send("POST", path, json.dumps(fields).encode())[0] == 400
    status, _, body = service.send("POST", path, json.dumps({**fields, "errors": "return"}).encode())
    assert status == 200, body
    rows, message = read(body)
    assert "tokens" in message
    assert rows[1] is None
    tokenizer = TextTokenizer(tiny_tokenizer, SPEC.max_tokens, "text")
    with Embedder.from_parts(SPEC, tokenizer, FakeBackend(SPEC.dim)) as own:
        assert np.array_equal(np.array(rows[::2], np.float32), own.encode(TEXTS[::2]))


@pytest.mark.parametrize("path", ["/api/embeddings", "/tokenize"])
def test_a_path_without_a_place_for_errors_says_so(service: Running, path: str) -> None:
    body = {"prompt": "tea", "inputs": "tea", "errors": "return"}
    status, _, told = service.send("POST", path, json.dumps(body).encode())
    assert status == 400
    assert told["error"].startswith("errors='return': ")


@pytest.mark.parametrize(
    ("query", "name", "length"),
    [
        ("", "fake", 24),
        ("?model=", "fake", 24),
        ("?model=other", "other", 12),
        ("?model=other%3Aquery&x=1", "other", 12),
        ("?model=fake&model=other", "other", 12),
    ],
)
def test_info_of_one_of_several_models(service: Running, query: str, name: str, length: int) -> None:
    status, _, told = service.send("GET", f"/info{query}")
    assert (status, told["model_id"], told["max_input_length"]) == (200, name, length)


@pytest.mark.parametrize("query", ["?model=third", "?model=%ff", "?model=fake:tall"])
def test_info_of_a_model_that_is_not_there(service: Running, query: str) -> None:
    status, _, told = service.send("GET", f"/info{query}")
    assert (status, told["error_type"]) == (404, "Validation")


def test_the_document_tells_of_it(service: Running) -> None:
    told = service.send("GET", "/openapi.json")[2]["paths"]["/info"]["get"]["parameters"]
    assert told == [{"name": "model", "in": "query", "required": False, "schema": {"type": "string"}}]
