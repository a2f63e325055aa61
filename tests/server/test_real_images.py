"""Photographs that real clients send, to a small jina-clip-v1 in ONNX: the vectors are those of `encode_image`."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import cohere
import httpx
import numpy as np
import openai
import pytest
from openai.types import CreateEmbeddingResponse
from PIL import Image

from edge_embed import Embedder
from edge_embed_convert import convert

from support.drawings import photograph
from support.real_service import serving
from support.specimens import JINA_CLIP, specimens

TEXTS = ["a cat", "two dogs run"]


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("clip")
    (folder / JINA_CLIP).mkdir()
    specimens()[JINA_CLIP](folder / JINA_CLIP, TEXTS)
    (made,) = convert(folder / JINA_CLIP, folder / "made", ["onnx:float32"], name="clip")
    return made


@pytest.fixture(scope="module")
def address(clip: Path, tiny_tokenizer: Path) -> Iterator[str]:
    with serving(f"{clip}=clip", tiny_tokenizer) as found:
        yield found


@pytest.fixture(scope="module")
def own(clip: Path) -> Iterator[Embedder]:
    with Embedder(clip, special_tokens="text") as model:
        yield model


@pytest.fixture(scope="module")
def photographs() -> list[bytes]:
    """Return files as cameras and screens make them."""
    found = []
    for number, (kind, size) in enumerate([("JPEG", (64, 48)), ("PNG", (31, 77)), ("WEBP", (40, 40))]):
        file = BytesIO()
        Image.fromarray(photograph(*size, number)).save(file, kind)
        found.append(file.getvalue())
    return found


@pytest.fixture
def client(address: str) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{address}/v1", api_key="none", max_retries=0) as client:
        yield client


def uri(file: bytes) -> str:
    kind = Image.open(BytesIO(file)).format or ""
    return f"data:image/{kind.lower()};base64,{base64.b64encode(file).decode()}"


def equal(found: Any, expected: Any) -> bool:
    return np.array_equal(np.asarray(found, np.float32), expected)


def test_openais_client_with_vllms_messages(client: openai.OpenAI, own: Embedder, photographs: list[bytes]) -> None:
    """As vLLM's documents show it, since openai's own method knows no messages."""
    part = [{"type": "image_url", "image_url": {"url": uri(file)}} for file in photographs]
    messages = [[{"role": "user", "content": [one]}] for one in part]
    for sent, expected in ((messages, photographs), (messages[0], photographs[:1])):
        body = {"model": "clip", "messages": sent, "encoding_format": "float"}
        answer = client.post("/embeddings", body=body, cast_to=CreateEmbeddingResponse)
        assert equal([one.embedding for one in answer.data], own.encode_image(expected))


def test_openais_client_with_jinas_objects(client: openai.OpenAI, own: Embedder, photographs: list[bytes]) -> None:
    bare = [{"image": base64.b64encode(file).decode()} for file in photographs]
    mixed: Any = [{"text": TEXTS[0]}, *bare, TEXTS[1]]
    answer = client.embeddings.create(model="clip", input=mixed)
    expected = own.encode([TEXTS[0], *({"image": file} for file in photographs), TEXTS[1]])
    assert equal([one.embedding for one in answer.data], expected)


def test_an_image_that_is_none_costs_the_others_nothing(
    client: openai.OpenAI, own: Embedder, photographs: list[bytes]
) -> None:
    spoilt = base64.b64encode(photographs[0][:200]).decode()
    inputs: Any = [{"image": spoilt}, {"image": uri(photographs[1])}]
    with pytest.raises(openai.BadRequestError, match="image 0"):
        client.embeddings.create(model="clip", input=inputs)
    body = {"model": "clip", "input": inputs, "errors": "return", "encoding_format": "float"}
    data = client.post("/embeddings", body=body, cast_to=object)["data"]  # type: ignore[index]
    assert "image" in data[0]["error"]["message"]
    assert equal(data[1]["embedding"], own.encode_image(photographs[1]))


def test_coheres_client(address: str, own: Embedder, photographs: list[bytes]) -> None:
    with httpx.Client(timeout=60) as http:
        client = cohere.ClientV2(base_url=address, api_key="none", httpx_client=http)
        got = client.embed(
            model="clip", images=[uri(file) for file in photographs], input_type="image", embedding_types=["float"]
        )
        assert equal(got.embeddings.float_ or [], own.encode_image(photographs))
        both: Any = [{"content": [{"type": "image_url", "image_url": {"url": uri(file)}}]} for file in photographs]
        got = client.embed(model="clip", inputs=both, input_type="search_document", embedding_types=["float"])
        assert equal(got.embeddings.float_ or [], own.encode_image(photographs))
        spoilt = [uri(photographs[0]), "data:image/png;base64,AAAA"]
        kept = client.embed(
            model="clip", images=spoilt, input_type="image", embedding_types=["float"],
            request_options={"additional_body_parameters": {"errors": "return"}},
        )  # fmt: skip
        rows = kept.embeddings.float_ or []
        assert equal(rows[0], own.encode_image(photographs[0]))
        assert rows[1] is None
        assert [one["index"] for one in kept.errors] == [1]  # type: ignore[attr-defined]
