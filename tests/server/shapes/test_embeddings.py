"""The path that OpenAI, Jina, Voyage, vLLM and Azure share: what requests ask for, what answers and errors hold."""

from __future__ import annotations

import base64
import json
from typing import Any

import numpy as np
import pytest

from edge_embed.errors import InputError
from edge_embed.server.ask import Call, Failure
from edge_embed.server.shapes import openai
from edge_embed.server.shapes._common import MOST_INPUTS
from edge_embed.vectors import quantize

from support.answers import CARD, ROWS, answer


def read(path_model: str | None = None, **fields: Any) -> Call:
    return openai.call(json.dumps(fields).encode(), {"model": path_model} if path_model else {})


def refusal(**fields: Any) -> Failure:
    with pytest.raises(Failure) as caught:
        read(**fields)
    return caught.value


def embeddings(call: Call) -> list[Any]:
    return [one["embedding"] for one in json.loads(call.write(answer()))["data"]]


def test_a_request_says_no_more_than_it_must() -> None:
    call = read(input="Tea", model="small", user=None, dimensions=None, encoding_format=None)
    ask = call.ask
    assert (ask.model, ask.inputs, ask.truncation, call.ignored) == ("small", ["Tea"], "end", [])
    assert {ask.side, ask.task, ask.purpose, ask.prompt_name, ask.prompt, ask.dim, ask.normalize} == {None}
    assert not ask.keep_errors
    assert not ask.late_chunking


def test_every_optional_field_may_be_null() -> None:
    nulls = dict.fromkeys(field for field in openai.EmbeddingsRequest.__struct_fields__ if field != "input")
    assert read(input=["Tea"], **nulls).ask == read(input=["Tea"]).ask


def test_inputs_in_their_many_forms() -> None:
    assert read(input=["a", "b"]).ask.inputs == ["a", "b"]
    assert read(input=[15339, 1917]).ask.inputs == [[15339, 1917]]
    assert read(input=[[15339, 1917], [65]]).ask.inputs == [[15339, 1917], [65]]
    assert read(input={"text": "a"}).ask.inputs == [{"text": "a"}]
    assert read(input=["a", {"image": "iVBORw0KGgo="}, {"text": "b", "image": "https://x/y.png"}]).ask.inputs == [
        "a",
        {"image": "data:image/*;base64,iVBORw0KGgo="},
        {"text": "b", "image": "https://x/y.png"},
    ]


def test_a_conversation_is_one_input() -> None:
    picture = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA=="}}
    text = {"type": "text", "text": "a hat"}
    messages = [[{"role": "user", "content": [picture, text]}], [{"role": "user", "content": "tea"}]]
    both = {"image": "data:image/png;base64,AA==", "text": "a hat"}
    assert read(messages=messages).ask.inputs == [both, "tea"]
    assert read(messages=messages[0]).ask.inputs == [both]
    assert "2 images" in refusal(messages=[{"role": "user", "content": [picture, picture]}]).message
    assert "expected a text or an image_url" in refusal(messages=[{"role": "user", "content": [{"type": "x"}]}]).message
    assert "either input or messages" in refusal(messages=messages, input="a").message


def test_sides_tasks_and_sizes_in_the_words_of_each_api() -> None:
    assert read(input="a", task="retrieval.query").ask.task == "retrieval.query"
    voyage = read(input="a", input_type="query", truncation=False, output_dimension=4).ask
    assert (voyage.purpose, voyage.side, voyage.truncation, voyage.dim) == ("retrieval", "query", "error", 4)
    assert read(input="a", input_type="classification").ask.purpose == "classification"
    assert read(input="a", normalized=False).ask.normalize is False
    assert read(input="a", truncate=False).ask.truncation == "error"
    assert read(input="a", late_chunking=True).ask.late_chunking
    assert read(input="a", errors="return").ask.keep_errors


def test_azure_names_the_model_in_the_path() -> None:
    assert read("small", input="a").ask.model == "small"
    assert any(one.path == "/openai/deployments/{model:path}/embeddings" for one in openai.ENDPOINTS)


def test_numbers_read_back_as_they_were() -> None:
    body = json.loads(read(input="a").write(answer()))
    assert np.array_equal(np.array([one["embedding"] for one in body["data"]], np.float32), ROWS)
    assert [one["index"] for one in body["data"]] == [0, 1, 2]
    assert {one["object"] for one in body["data"]} == {"embedding"}
    assert (body["object"], body["model"]) == ("list", "small")
    assert body["usage"] == {"prompt_tokens": 15, "total_tokens": 15}


def test_base64_holds_the_same_bits() -> None:
    for field in ("encoding_format", "embedding_type"):
        rows = [np.frombuffer(base64.b64decode(one), "<f4") for one in embeddings(read(input="a", **{field: "base64"}))]
        assert np.array_equal(rows, ROWS)


@pytest.mark.parametrize("precision", ["int8", "uint8", "binary", "ubinary"])
def test_precisions_are_those_of_the_library(precision: Any) -> None:
    expected = quantize(ROWS, precision)
    assert embeddings(read(input="a", output_dtype=precision)) == expected.tolist()
    packed = embeddings(read(input="a", output_dtype=precision, encoding_format="base64"))
    assert [base64.b64decode(one) for one in packed] == [row.tobytes() for row in expected]
    assert embeddings(read(input="a", embedding_type=[precision])) == expected.tolist()


def test_an_error_takes_its_inputs_place_and_tells_nothing_of_the_machine() -> None:
    errors = {0: InputError("text 0 is empty"), 2: RuntimeError("/home/x is full")}
    rows = ROWS.copy()
    rows[0] = np.nan
    data = json.loads(read(input=["a", "b", "c"], errors="return").write(answer(rows, errors)))["data"]
    assert data[0] == {
        "object": "error",
        "index": 0,
        "error": {"message": "text 0 is empty", "type": "invalid_request_error"},
    }
    assert data[1]["embedding"]
    assert data[2]["error"]["message"] == "the engine failed"


def test_an_error_among_voyages_integers() -> None:
    rows = ROWS.copy()
    rows[1] = np.nan
    call = read(input=["a", "b", "c"], errors="return", input_type="document", output_dtype="int8")
    assert (call.api, call.ask.keep_errors) == ("voyage", True)
    data = json.loads(call.write(answer(rows, {1: InputError("text 1 is empty")})))["data"]
    assert data[1]["error"]["message"] == "text 1 is empty"
    assert [one["embedding"] for one in data[::2]] == quantize(ROWS[::2], "int8").tolist()


def test_what_is_not_finite_is_not_written_as_null() -> None:
    with pytest.raises(Failure, match="not finite") as caught:
        read(input="a").write(answer([[np.nan] * 8]))
    assert caught.value.status == 500


@pytest.mark.parametrize(
    ("fields", "message", "field"),
    [
        ({}, "either input or messages", "input"),
        ({"input": []}, "input is empty", "input"),
        ({"input": 5}, "input=5: expected", "input"),
        ({"input": ["a", 2.5]}, "input[1]=2.5: expected", "input"),
        ({"input": ["a", {"pdf": "x"}]}, "input[1] is {'pdf': 'x'}, expected a text", "input"),
        ({"input": ["a", []]}, "input[1] is [], expected a text", "input"),
        ({"input": ["a", 5]}, "input[1] is 5, expected a text", "input"),
        ({"input": "a", "dimensions": 0}, "dimensions=[0]: give one number from 1 on", "dimensions"),
        ({"input": "a", "dimensions": 4, "output_dimension": 8}, "dimensions=[4, 8]", "dimensions"),
        ({"input": "a", "dimensions": "4"}, "dimensions='4': expected `int | null`, got `str`", "dimensions"),
        ({"input": "a", "dimensions": True}, "dimensions=True: expected", "dimensions"),
        (
            {"input": "a", "encoding_format": "hex"},
            "encoding_format='hex' is not known: choose",
            "encoding_format",
        ),
        ({"input": "a", "embedding_type": ["float", "int8"]}, "this path gives one type", "embedding_type"),
        ({"input": "a", "input_type": "poem"}, "input_type='poem' is not known: choose from 'query'", "input_type"),
        ({"input": "a", "truncate_prompt_tokens": 5}, "would change the vectors", "truncate_prompt_tokens"),
        ({"input": "a", "return_multivector": True}, "would change the vectors", "return_multivector"),
        ({"input": "a", "errors": "hide"}, "errors='hide' is not known", "errors"),
    ],
)
def test_a_refusal_names_the_field_and_the_value(fields: dict[str, Any], message: str, field: str) -> None:
    failure = refusal(**fields)
    assert message in failure.message
    assert (failure.status, failure.reason, failure.field) == (400, "bad_request", field)


def test_more_inputs_than_a_request_may_hold() -> None:
    assert len(read(input=["a"] * MOST_INPUTS).ask.inputs) == MOST_INPUTS
    failure = refusal(input=["a"] * (MOST_INPUTS + 1))
    assert (failure.status, failure.reason) == (413, "too_many")
    assert "input has 4,097 inputs, this server takes 4,096 in a request" in failure.message


def test_unknown_fields_are_named_and_harmless_ones_pass() -> None:
    assert read(input="a", colour="red").ignored == ["colour"]
    assert read(input="a", truncate_prompt_tokens=-1, return_multivector=False).ask.inputs == ["a"]


def test_failures_as_each_api_words_them() -> None:
    failure = Failure(status=400, reason="bad_request", message="no", field="input", request_id="a-1")
    body = json.loads(openai.fail(failure))
    assert body["error"] == {"message": "no", "type": "invalid_request_error", "param": "input", "code": "bad_request"}
    assert body["detail"] == {"message": "no", "request_id": "a-1", "code": "bad_request"}
    assert read(input="a").api == "openai"
    assert read(input="a", task="retrieval").api == "jina"
    call = read(input="a", truncation=True, output_dtype=None)
    assert call.api == "voyage"
    voyage = Failure(status=404, reason="no_model", message="no", api=call.api)
    assert json.loads(openai.fail(voyage))["detail"] == "no"
    assert refusal(input=[], truncation=True).api == "voyage"


def test_models_are_listed_with_their_sides_and_tasks() -> None:
    listed = json.loads(openai.models([CARD], b"", {}))
    assert listed["object"] == "list"
    assert [one["id"] for one in listed["data"]] == ["small", "small:query", "small:document", "small:retrieval"]
    assert json.loads(openai.model([CARD], b"", {"model": "small:query"})) == listed["data"][1]
    with pytest.raises(Failure, match="no model 'big'") as caught:
        openai.model([CARD], b"", {"model": "big"})
    assert caught.value.status == 404
