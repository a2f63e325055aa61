"""What Jina's API alone can say: objects of text, late chunking, texts that may not be cut."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge_embed import AsyncEmbedder, Embedder
from edge_embed.backends.fake import FakeBackend
from edge_embed.pipeline.tokenizer import TextTokenizer
from edge_embed.server.engine import Engine, Observe
from edge_embed.server.gather import gather
from edge_embed.server.settings import Settings

from support.fake import SPEC
from support.service import Loader, Running, model, running

CHUNKS = ["the cat", " sat", " down"]


class LastLoader(Loader):
    """Opens a model that pools its last token."""

    def __call__(self, reference: str, task: str | None, settings: Settings, observe: Observe) -> Engine:
        if reference != "ref-last":
            return super().__call__(reference, task, settings, observe)
        spec = replace(SPEC, name="last", pooling="last")
        tokenizer = TextTokenizer(self.tokenizer, SPEC.max_tokens, "text")
        return AsyncEmbedder(Embedder.from_parts(spec, tokenizer, FakeBackend(SPEC.dim)), observe=observe)


@pytest.fixture(scope="module")
def service(tiny_tokenizer: Path) -> Iterator[Running]:
    models = [model("fake"), model("last", pooling="last")]
    with running(tiny_tokenizer, models, gather(), LastLoader(tiny_tokenizer)) as found:
        yield found


def ask(service: Running, **fields: Any) -> tuple[int, Any]:
    status, _, body = service.send("POST", "/v1/embeddings", json.dumps(fields).encode())
    return status, body


def rows(body: Any) -> Any:
    return np.array([one["embedding"] for one in body["data"]], np.float32)


def test_objects_of_text(service: Running) -> None:
    assert rows(ask(service, input=[{"text": "a cat"}])[1]).tolist() == rows(ask(service, input="a cat")[1]).tolist()


def test_late_chunking_is_that_of_the_library(service: Running, tiny_tokenizer: Path) -> None:
    tokenizer = TextTokenizer(tiny_tokenizer, SPEC.max_tokens, "text")

    async def own() -> Any:
        async with AsyncEmbedder(Embedder.from_parts(SPEC, tokenizer, FakeBackend(SPEC.dim))) as embedder:
            return (await embedder.compute(CHUNKS, late_chunking=True)).vectors

    status, body = ask(service, input=CHUNKS, late_chunking=True)
    assert status == 200
    assert np.array_equal(rows(body), asyncio.run(own()))
    assert not np.array_equal(rows(body), rows(ask(service, input=CHUNKS)[1]))


def test_late_chunking_is_refused_by_the_name_of_a_model_that_pools_its_last_token(service: Running) -> None:
    status, body = ask(service, model="last", input=CHUNKS, late_chunking=True)
    assert status == 400
    assert "late" in body["detail"]["message"]
    assert "last" in body["detail"]["message"]
    assert body["detail"]["request_id"] == body["request_id"]


def test_a_text_that_may_not_be_cut(service: Running) -> None:
    status, body = ask(service, input="a cat " * 30, truncate=False)
    assert status == 400
    assert "tokens" in body["detail"]["message"]
    assert ask(service, input="a cat " * 30, truncate=True)[0] == 200


def test_a_size_that_the_model_was_not_trained_for(service: Running) -> None:
    status, body = ask(service, input="a", dimensions=5)
    assert status == 400
    assert body["error"]["message"] == "dimensions=5: fake was trained for [4, 8, 16] only"
    assert body["error"]["param"] == "dimensions"
