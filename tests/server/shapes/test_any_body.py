"""Whatever a body holds, a shape reads it or refuses it; nothing else is raised."""

from __future__ import annotations

import json
from functools import partial
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_embed.server.ask import Call, Endpoint, Failure
from edge_embed.server.gather import gather
from edge_embed.server.shapes import openapi

ENDPOINTS, LISTINGS = gather().endpoints, gather().listings
READERS = {one.read.func if isinstance(one.read, partial) else one.read: one for one in ENDPOINTS}  # each once
PATHS = pytest.mark.parametrize("endpoint", READERS.values(), ids=lambda one: one.path)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.sampled_from(["float", "query"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["text", "image", "content", "type", "x"]), inner, max_size=3)
    ),
    max_leaves=6,
)


def outcome(endpoint: Endpoint, body: bytes) -> Call | Failure:
    """Read a body; a refusal must be one that can be written."""
    try:
        return endpoint.read(body, {})
    except Failure as error:
        failure = error
    assert 400 <= failure.status < 500
    assert len(failure.message) < 1000
    json.loads(endpoint.fail(failure))
    return failure


@PATHS
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_any_values_of_the_known_fields(endpoint: Endpoint, data: st.DataObject) -> None:
    assert endpoint.body is not None
    names = st.sampled_from([*endpoint.body.__struct_fields__, "max_tokens", "pooling", "instruction", "x"])
    outcome(endpoint, json.dumps(data.draw(st.dictionaries(names, VALUES, max_size=5))).encode())


@PATHS
@settings(max_examples=30, deadline=None)
@given(body=st.binary(max_size=40))
def test_any_bytes(endpoint: Endpoint, body: bytes) -> None:
    outcome(endpoint, body)


@PATHS
@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"null",
        b"[" * 100_000,
        b'{"input":' + b"[" * 900 + b"]" * 900 + b"}",
        b'{"inputs":' + b'{"a":' * 900 + b"1" + b"}" * 900 + b"}",
        b'{"dimensions": NaN}',
        b'{"dimensions": 1e999}',
        b'{"dimensions": ' + b"9" * 5000 + b"}",
        b'{"input": "\xff"}',
        b'{"model": "\\ud800"}',
        b'{"\xff": 1}',
    ],
    ids=lambda body: repr(body[:24]),
)
def test_hostile_bodies(endpoint: Endpoint, body: bytes) -> None:
    found = outcome(endpoint, body)
    assert isinstance(found, Failure) or endpoint.path.startswith("/api")


def test_a_body_that_is_no_json_says_where() -> None:
    with pytest.raises(Failure, match=r"the body is not JSON: .*byte 10"):
        ENDPOINTS[0].read(b'{"a": nan}', {})


def test_the_document_has_every_path_and_resolves() -> None:
    document: dict[str, Any] = json.loads(openapi.write([], b"", {}))
    paths = {one.path.replace(":path", "") for one in (*ENDPOINTS, *LISTINGS)}
    assert paths == set(document["paths"])
    text = json.dumps(document["paths"])
    for name in document["components"]["schemas"]:
        text = text.replace(f"#/components/schemas/{name}", "")
    assert "#/components" not in text
