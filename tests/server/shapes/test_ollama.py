"""Ollama's paths: bytes to what is asked for, and answers, lists and errors to bytes."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from edge_embed.errors import InputError
from edge_embed.server.ask import Call, Failure
from edge_embed.server.shapes import ollama

from support.answers import CARD, ROWS, answer


def read(**fields: Any) -> Call:
    return ollama.embed(json.dumps(fields).encode(), {})


def test_embed() -> None:
    call = read(model="small:latest", input=["a", "b", "c"], truncate=False, dimensions=4, keep_alive=None, options={})
    assert (call.ask.model, call.ask.inputs) == ("small:latest", ["a", "b", "c"])
    assert (call.ask.truncation, call.ask.dim, call.ignored) == ("error", 4, [])
    body = json.loads(call.write(answer()))
    assert np.array_equal(np.array(body.pop("embeddings"), np.float32), ROWS)
    assert body == {
        "model": "small:latest",
        "total_duration": 1_750_000_000,
        "load_duration": 0,
        "prompt_eval_count": 15,
    }


def test_options_of_another_engine_are_named() -> None:
    call = read(model="small", input="a", options={"num_ctx": 4, "top_k": None}, keep_alive="5m", think=True)
    assert call.ignored == ["think", "options.num_ctx", "keep_alive"]


@pytest.mark.parametrize("fields", [{}, {"input": ""}, {"input": []}, {"input": None}])
def test_no_input_loads_the_model(fields: dict[str, Any]) -> None:
    call = read(model="small", **fields)
    assert call.ask.inputs == []
    assert json.loads(call.write(answer(ROWS[:0])))["embeddings"] == []


def test_the_older_path() -> None:
    call = ollama.embeddings(b'{"model": "small", "prompt": "a", "options": null}', {})
    assert call.ask.inputs == ["a"]
    assert np.array_equal(np.array(json.loads(call.write(answer(ROWS[:1])))["embedding"], np.float32), ROWS[0])
    empty = ollama.embeddings(b'{"model": "small"}', {})
    assert empty.ask.inputs == []
    assert json.loads(empty.write(answer(ROWS[:0]))) == {"embedding": []}


def test_null_is_in_the_place_of_one_that_failed() -> None:
    call = read(model="small", input=["a", "b", "c"], errors="return")
    assert call.ask.keep_errors
    assert not read(model="small", input="a").ask.keep_errors
    body = json.loads(call.write(answer(ROWS, {0: InputError("text 0 is empty")})))
    assert body["embeddings"][0] is None
    assert np.array_equal(np.array(body["embeddings"][1:], np.float32), ROWS[1:])
    assert body["errors"] == [{"index": 0, "message": "text 0 is empty"}]


def test_the_older_path_has_no_place_for_an_error() -> None:
    assert ollama.embeddings(b'{"prompt": "a", "errors": "raise"}', {}).ask.inputs == ["a"]
    with pytest.raises(
        Failure, match="errors='return': an answer of this path is one vector or none: /api/embed"
    ) as told:
        ollama.embeddings(b'{"prompt": "a", "errors": "return"}', {})
    assert (told.value.status, told.value.field) == (400, "errors")


def test_lists() -> None:
    models = json.loads(ollama.tags([CARD], b"", {}))["models"]
    assert [one["name"] for one in models] == ["small:latest", "small:query", "small:document", "small:retrieval"]
    assert (models[0]["size"], models[0]["modified_at"]) == (1234, "2023-11-14T22:13:20Z")
    assert models[0]["details"]["quantization_level"] == "int8"
    idle, busy = replace(CARD, loaded=False), replace(CARD, expires=1_700_000_060.0)
    assert json.loads(ollama.running([idle], b"", {})) == {"models": []}
    assert json.loads(ollama.running([busy], b"", {}))["models"][0]["expires_at"] == "2023-11-14T22:14:20Z"
    assert json.loads(ollama.running([CARD], b"", {}))["models"][0]["expires_at"] == "9999-12-31T00:00:00Z"
    assert json.loads(ollama.version([CARD], b"", {}))["version"]
    assert ollama.here([CARD], b"", {}) == b""


def test_show() -> None:
    for body in (b'{"model": "small"}', b'{"name": "small:latest"}', b'{"model": "small:query", "verbose": true}'):
        told = json.loads(ollama.show([CARD], body, {}))
        assert told["model_info"]["bert.embedding_length"] == 8
        assert told["capabilities"] == ["embedding"]
    for body, message in (
        (b'{"model": "big"}', "no model 'big' here"),
        (b'{"model": "small:tall"}', "the model small has no tag 'tall': it has latest, query, document, retrieval"),
    ):
        with pytest.raises(Failure, match=message) as caught:
            ollama.show([CARD], body, {})
        assert caught.value.status == 404
    with pytest.raises(Failure, match="model is missing"):
        ollama.show([CARD], b"{}", {})


def test_failures() -> None:
    assert json.loads(ollama.fail(Failure(status=400, reason="bad_request", message="no"))) == {"error": "no"}
