"""Cohere's /v2/embed and /v1/embed."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any, Literal

import msgspec

from edge_embed.server.ask import Answer, Ask, Call, Endpoint, Failure, Item, Parameters

from ._common import bad, check_number, convert, dump, image_item, parse, pick, positive, vectors_of
from ._errors import KEEP, errors_of
from ._messages import conversations
from ._words import INPUT_TYPES, TRUNCATIONS, Encoding, encoding

Version = Literal["1", "2"]
HARMLESS: dict[str, tuple[Any, ...]] = {"max_tokens": ()}


class CohereRequest(msgspec.Struct):
    """A request to /v2/embed or /v1/embed. All fields may be null; one of `texts`, `images` and `inputs` is needed.

    `errors` is ours.
    """

    model: str | None = None
    texts: list[str] | None = None
    images: list[str] | None = None
    inputs: list[dict[str, Any]] | None = None
    input_type: str | None = None
    embedding_types: list[str] | None = None
    output_dimension: int | None = None
    truncate: str | None = None
    errors: str | None = None


def call(version: Version, body: bytes, parameters: Parameters) -> Call:
    """Read a request."""
    given, ignored = convert(parse(body), CohereRequest, HARMLESS)
    purpose, side = pick(given.input_type, INPUT_TYPES, "input_type")
    inputs = _inputs(given)
    ask = Ask(
        model=given.model,
        inputs=inputs,
        side=side,
        purpose=purpose,
        dim=positive("output_dimension", given.output_dimension),
        truncation=pick(given.truncate, TRUNCATIONS, "truncate"),
        keep_errors=pick(given.errors, KEEP, "errors"),
    )
    types = None if version == "1" and not given.embedding_types else (given.embedding_types or ["float"])
    encodings = {kind: encoding(kind, field="embedding_types") for kind in types} if types else None
    return Call(ask=ask, write=partial(write, version, inputs, encodings), ignored=ignored)


def _inputs(given: CohereRequest) -> Sequence[Item]:
    several = {"texts": given.texts, "images": given.images, "inputs": given.inputs}
    sent = {name: value for name, value in several.items() if value}
    if len(sent) != 1:
        raise bad("a request has one of texts, images and inputs, and at least one in it", next(iter(sent), "texts"))
    if given.inputs:
        check_number(len(given.inputs), "inputs")
        return conversations([[one] for one in given.inputs], "inputs")
    for name, items in (("texts", given.texts), ("images", given.images)):
        check_number(len(items or [""]), name)
    return given.texts or [image_item({"image": image}) for image in given.images or ()]


def write(version: Version, inputs: Sequence[Item], encodings: dict[str, Encoding] | None, answer: Answer) -> bytes:
    """Write vectors by type, or, where version 1 named none, as numbers alone; null in the place of one that failed."""
    vectors, failed = vectors_of(answer), answer.computed.errors
    pictures = sum(not isinstance(item, str) and "image" in item for item in inputs)
    billed = {"input_tokens": answer.computed.tokens, **({"images": pictures} if pictures else {})}
    return dump(
        {
            "id": answer.request_id,
            "response_type": "embeddings_by_type" if encodings else "embeddings_floats",
            "embeddings": {kind: how.write(vectors, failed) for kind, how in encodings.items()}
            if encodings
            else Encoding().write(vectors, failed),
            "texts": [item for item in inputs if isinstance(item, str)],
            "meta": {"api_version": {"version": version}, "billed_units": billed},
            **errors_of(answer),
        }
    )


def fail(failure: Failure) -> bytes:
    """Write a failure as Cohere does."""
    return dump({"message": failure.message, "id": failure.request_id})


VERSIONS: tuple[Version, ...] = ("2", "1")
ENDPOINTS = [
    Endpoint(
        path=f"/v{version}/embed",
        read=partial(call, version),
        fail=fail,
        body=CohereRequest,
        summary=f"Embed, as Cohere does in version {version}",
    )
    for version in VERSIONS
]
