"""TEI's and Hugging Face's paths: bytes to what is asked for, and answers and errors to bytes."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from edge_embed.errors import InputError
from edge_embed.server.ask import Call, Failure
from edge_embed.server.shapes import tei

from support.answers import CARD, ROWS, answer


def read(**fields: Any) -> Call:
    return tei.call(json.dumps(fields).encode(), {})


def test_what_a_request_asks_for() -> None:
    ask = read(inputs="a", normalize=None, prompt_name="query", truncate=True, truncation_direction="Left").ask
    assert (ask.inputs, ask.normalize, ask.prompt_name, ask.truncation) == (["a"], None, "query", "start")
    assert read(inputs=["a"], truncate=False, normalize=False, dimensions=4).ask.truncation == "error"
    assert read(inputs=["a"], model="small").ask.model == "small"
    assert read(inputs=["a"], parameters={}).ignored == ["parameters"]


def test_a_bare_list_of_vectors() -> None:
    assert np.array_equal(np.array(json.loads(read(inputs="a").write(answer())), np.float32), ROWS)


def test_an_error_in_the_place_of_one_that_failed() -> None:
    call = read(inputs=["a", "b", "c"], errors="return")
    assert call.ask.keep_errors
    rows = ROWS.copy()
    rows[1] = np.inf
    found = json.loads(call.write(answer(rows, {1: InputError("text 1 is empty")})))
    assert found[1] == {"error": "text 1 is empty", "error_type": "Validation"}
    assert np.array_equal(np.array(found[::2], np.float32), ROWS[::2])


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({}, "inputs is missing"),
        ({"inputs": []}, "inputs is empty"),
        ({"inputs": {"source_sentence": "a"}}, "inputs is {'source_sentence': 'a'}, expected a text"),
        ({"inputs": "a", "truncation_direction": "up"}, "truncation_direction='up' is not known"),
        ({"inputs": "a", "truncate": "yes"}, "truncate='yes': expected `bool | null`"),
    ],
)
def test_refusals(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(Failure) as caught:
        read(**fields)
    assert message in caught.value.message


def test_tokens_are_told_of_texts_that_are_not_too_long() -> None:
    call = tei.tokenize(b'{"inputs": "tea", "add_special_tokens": false}', {})
    assert (call.ask.inputs, call.ask.pieces) == (["tea"], "text")
    assert tei.tokenize(b'{"inputs": ["tea"]}', {}).ask.pieces == "all"
    for body, status, message in (
        (b"{}", 400, "inputs is empty"),
        (b'{"inputs": [[1]]}', 400, "expected `str`"),
        (b'{"inputs": "tea", "errors": "return"}', 400, "errors='return': no text fails by itself here"),
        (b'{"inputs": "tea", "prompt_name": "query"}', 400, "prompt_name='query' would change"),
        (json.dumps({"inputs": ["a" * 200_000] * 2}).encode(), 413, "inputs have 400,000 letters"),
    ):
        with pytest.raises(Failure) as caught:
            tei.tokenize(body, {})
        assert caught.value.status == status
        assert message in caught.value.message


def test_failures_and_info() -> None:
    failure = Failure(status=429, reason="overloaded", message="later")
    assert json.loads(tei.fail(failure)) == {"error": "later", "error_type": "Overloaded"}
    told = json.loads(tei.info([CARD], b"", {}))
    assert (told["model_id"], told["max_input_length"]) == ("small", 256)
    assert told["model_type"] == {"embedding": {"pooling": "mean"}}


def test_info_of_one_among_several() -> None:
    cards = [CARD, replace(CARD, name="large", spec=replace(CARD.spec, name="large", max_tokens=8192))]
    for name, expected in ((None, "small"), ("", "small"), ("large", "large"), ("large:query", "large")):
        told = json.loads(tei.info(cards, b"", {} if name is None else {"model": name}))
        assert told["model_id"] == expected
    for name, message in (("big", "no model 'big' here"), ("small:tall", "the model small has no tag 'tall'")):
        with pytest.raises(Failure, match=message) as caught:
            tei.info(cards, b"", {"model": name})
        assert caught.value.status == 404
