"""Images in the forms that APIs have for them: each gives the vector that Embedder gives for the same file."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from edge_embed.server.gather import gather

from support.seeing import SEES, SeeingLoader, seeing
from support.service import Running, model, running


@pytest.fixture(scope="module")
def service(tiny_tokenizer: Path) -> Iterator[Running]:
    models = [model("fake", image=SEES.image)]
    with running(tiny_tokenizer, models, gather(), SeeingLoader(tiny_tokenizer)) as found:
        yield found


@pytest.fixture(scope="module")
def png() -> bytes:
    file = BytesIO()
    Image.fromarray(np.arange(300, dtype=np.uint8).reshape(10, 10, 3)).save(file, "PNG")
    return file.getvalue()


def test_an_image_in_each_apis_form(service: Running, png: bytes, tiny_tokenizer: Path) -> None:
    with seeing(tiny_tokenizer) as embedder:
        expected = embedder.encode_image(png).tolist()
    bare = base64.b64encode(png).decode()
    uri = f"data:image/png;base64,{bare}"
    part = {"type": "image_url", "image_url": {"url": uri}}
    asked: list[tuple[str, dict[str, Any]]] = [
        ("/v1/embeddings", {"input": [{"image": bare}]}),
        ("/v1/embeddings", {"input": {"image": uri}}),
        ("/v1/embeddings", {"messages": [[{"role": "user", "content": [part]}]]}),
        ("/v2/embed", {"images": [uri], "input_type": "image"}),
        ("/v2/embed", {"inputs": [{"content": [part]}]}),
        ("/embed", {"inputs": [{"image": uri}]}),
        ("/api/embed", {"input": [{"image": uri}]}),
    ]
    for path, fields in asked:
        status, _, body = service.send("POST", path, json.dumps(fields).encode())
        assert status == 200, (path, body)
        got = body if path == "/embed" else body.get("embeddings") or body["data"][0]["embedding"]
        got = got["float"][0] if isinstance(got, dict) else got[0] if isinstance(got[0], list) else got
        assert np.array_equal(np.asarray(got, np.float32), np.asarray(expected, np.float32)), path


@pytest.mark.parametrize(
    ("image", "status", "message"),
    [
        ("https://example.com/a.png", 403, "fetching is switched off here"),
        ("file:///etc/passwd", 400, "files of the server cannot be named"),
        ("/etc/passwd", 400, "image 0"),
        ("AAAA", 400, "image 0"),
    ],
)
def test_an_image_that_is_none(service: Running, image: str, status: int, message: str) -> None:
    told = service.send("POST", "/v1/embeddings", json.dumps({"input": [{"image": image}]}).encode())
    assert told[0] == status
    assert message in told[2]["error"]["message"]
    assert "root:" not in str(told[2])


def test_switched_off_images_are_not_offered(tiny_tokenizer: Path) -> None:
    models = [model("fake", image=SEES.image)]
    for images, offered in [("data", True), ("off", False)]:
        with running(tiny_tokenizer, models, gather(), SeeingLoader(tiny_tokenizer), images=images) as found:
            cards = json.dumps(found.send("GET", "/v1/models")[2])
            assert ('"images": true' in cards) == offered
            shown = found.ask([], "/api/show", model="fake")[2]["capabilities"]
            assert ("vision" in shown) == offered
