"""Cohere's two versions: bytes to what is asked for, and answers and errors to bytes."""

from __future__ import annotations

import base64
import json
from typing import Any

import numpy as np
import pytest

from edge_embed.errors import InputError
from edge_embed.server.ask import Call, Failure
from edge_embed.server.shapes import cohere
from edge_embed.vectors import quantize

from support.answers import ROWS, answer


def read(version: cohere.Version = "2", **fields: Any) -> Call:
    return cohere.call(version, json.dumps(fields).encode(), {})


def written(call: Call) -> dict[str, Any]:
    body: dict[str, Any] = json.loads(call.write(answer()))
    return body


def test_what_a_request_asks_for() -> None:
    ask = read(
        texts=["a"], model="small", input_type="search_query", truncate="START", output_dimension=4, images=None
    ).ask
    assert (ask.model, ask.inputs, ask.side, ask.purpose) == ("small", ["a"], "query", "retrieval")
    assert (ask.truncation, ask.dim) == ("start", 4)
    assert read(texts=["a"], input_type="search_document").ask.side == "document"
    clusters = read(texts=["a"], input_type="clustering", truncate="NONE").ask
    assert (clusters.purpose, clusters.side, clusters.truncation) == ("clustering", None, "error")
    assert read("1", texts=["a"], truncate=None, embedding_types=None).ask.truncation == "end"


def test_images_and_mixed_inputs() -> None:
    uri = "data:image/png;base64,AA=="
    assert read(images=[uri], input_type="image").ask.inputs == [{"image": uri}]
    content = [{"type": "text", "text": "a hat"}, {"type": "image_url", "image_url": {"url": uri}}]
    call = read(inputs=[{"content": content}, {"content": content[:1]}])
    assert call.ask.inputs == [{"image": uri, "text": "a hat"}, "a hat"]
    assert written(call)["meta"]["billed_units"] == {"input_tokens": 15, "images": 1}


def test_version_2_answers_by_type() -> None:
    body = written(read(texts=["a", "b", "c"], embedding_types=["float", "int8", "ubinary", "base64"]))
    assert np.array_equal(np.array(body["embeddings"]["float"], np.float32), ROWS)
    assert body["embeddings"]["int8"] == quantize(ROWS, "int8").tolist()
    assert body["embeddings"]["ubinary"] == quantize(ROWS, "ubinary").tolist()
    assert [base64.b64decode(one) for one in body["embeddings"]["base64"]] == [row.tobytes() for row in ROWS]
    assert (body["id"], body["response_type"], body["texts"]) == ("a-1", "embeddings_by_type", ["a", "b", "c"])
    assert body["meta"] == {"api_version": {"version": "2"}, "billed_units": {"input_tokens": 15}}
    assert list(written(read(texts=["a"]))["embeddings"]) == ["float"]


def test_version_1_answers_with_numbers_unless_types_are_named() -> None:
    body = written(read("1", texts=["a"]))
    assert body["response_type"] == "embeddings_floats"
    assert np.array_equal(np.array(body["embeddings"], np.float32), ROWS)
    assert body["meta"]["billed_units"] == {"input_tokens": 15}
    typed = written(read("1", texts=["a"], embedding_types=["int8"]))
    assert (typed["response_type"], list(typed["embeddings"])) == ("embeddings_by_type", ["int8"])


@pytest.mark.parametrize("version", ["1", "2"])
def test_null_is_in_the_place_of_one_that_failed(version: cohere.Version) -> None:
    call = read(version, texts=["a", "b", "c"], errors="return", embedding_types=["float", "int8", "base64"])
    assert call.ask.keep_errors
    assert not read(texts=["a"], errors="raise").ask.keep_errors
    rows = ROWS.copy()
    rows[1] = np.nan
    body = json.loads(call.write(answer(rows, {1: InputError("text 1 is empty")})))
    for kind, expected in (("float", ROWS), ("int8", quantize(ROWS, "int8"))):
        found = body["embeddings"][kind]
        assert found[1] is None
        assert np.array_equal(np.array(found[::2], expected.dtype), expected[::2])
    assert [one is None for one in body["embeddings"]["base64"]] == [False, True, False]
    assert body["errors"] == [{"index": 1, "message": "text 1 is empty"}]
    assert "errors" not in written(call)


def test_null_among_the_numbers_of_version_1() -> None:
    call = read("1", texts=["a", "b", "c"], errors="return")
    body = json.loads(call.write(answer(ROWS, {2: RuntimeError("/home/x is full")})))
    assert [one is None for one in body["embeddings"]] == [False, False, True]
    assert body["errors"] == [{"index": 2, "message": "the engine failed"}]


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({}, "one of texts, images and inputs"),
        ({"texts": []}, "at least one in it"),
        ({"texts": ["a"], "images": ["b"]}, "one of texts, images and inputs"),
        ({"texts": "a"}, "texts='a': expected `array | null`"),
        ({"texts": ["a"], "max_tokens": 4}, "max_tokens=4 would change the vectors"),
        ({"texts": ["a"], "embedding_types": ["hex"]}, "embedding_types='hex' is not known"),
        ({"texts": ["a"], "truncate": "MIDDLE"}, "truncate='MIDDLE' is not known"),
        ({"texts": ["a"] * 4097}, "texts has 4,097 inputs"),
        ({"texts": ["a"], "errors": "hide"}, "errors='hide' is not known: choose from 'raise', 'return'"),
        ({"inputs": [{"content": []}]}, "inputs[0] has 0 images and 0 texts"),
    ],
)
def test_refusals(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(Failure) as caught:
        read(**fields)
    assert message in caught.value.message


def test_failures() -> None:
    failure = Failure(status=404, reason="no_model", message="no", request_id="a-1")
    assert json.loads(cohere.fail(failure)) == {"message": "no", "id": "a-1"}
