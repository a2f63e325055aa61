"""OpenAI's embeddings API, and what Jina, Voyage, vLLM and Azure have added to the same path.

No client says which of them it speaks: its fields do. OpenAI and Jina say `dimensions`, Voyage `output_dimension`, and
so on; each is taken from whoever sends it, and the answer has what all of them read.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import msgspec

from edge_embed.server.ask import Answer, Ask, Call, Card, Endpoint, Failure, Listing, Parameters
from edge_embed.server.names import variants

from . import jina, voyage
from ._common import bad, convert, dump, inputs_of, parse, pick, positive, shown, vectors_of
from ._errors import KEEP, told
from ._messages import conversations
from ._words import INPUT_TYPES, TRUNCATIONS, Encoding, encoding

# Fields of other servers that change the numbers, by the values that change nothing here.
HARMLESS: dict[str, tuple[Any, ...]] = {
    "add_special_tokens": (True,),
    "truncate_prompt_tokens": (-1,),
    "return_multivector": (False,),
    "return_tokenized_input": (False,),
    "instruction": ("",),
    "pooling": (),
    "embed_dtype": ("float32",),
    "endianness": ("native", "little"),
    "use_activation": (True,),
    "chat_template": (),
}
FIELDS = {"voyage": voyage.FIELDS, "jina": jina.FIELDS}  # by which an API is known
DETAILS = {"voyage": voyage.detail, "jina": jina.detail}  # what a failure has beside OpenAI's `error`
TYPES = {
    "unauthorized": "authentication_error",
    "overloaded": "rate_limit_error",
    "internal": "server_error",
    "unavailable": "server_error",
}


class EmbeddingsRequest(msgspec.Struct):
    """A request to /v1/embeddings. All fields may be null; `input` or `messages` is needed."""

    model: str | None = None
    input: str | list[str | int | list[int] | dict[str, Any]] | dict[str, Any] | None = None
    messages: list[Any] | None = None
    dimensions: int | None = None
    output_dimension: int | None = None
    encoding_format: str | None = None
    embedding_type: str | list[str] | None = None
    output_dtype: str | None = None
    user: str | None = None
    task: str | None = None
    input_type: str | None = None
    prompt_name: str | None = None
    prompt: str | None = None
    normalized: bool | None = None
    normalize: bool | None = None
    truncate: bool | str | None = None
    truncation: bool | str | None = None
    late_chunking: bool | None = None
    errors: str | None = None


def call(body: bytes, parameters: Parameters) -> Call:
    """Read a request; Azure names the model in the path."""
    raw = parse(body)
    api = next((name for name, fields in FIELDS.items() if fields & raw.keys()), "openai")
    try:
        given, ignored = convert(raw, EmbeddingsRequest, HARMLESS)
        how = encoding(given.encoding_format, _one_type(given), given.output_dtype)
        return Call(ask=_ask(given, parameters), write=partial(write, how), ignored=ignored, api=api)
    except Failure as failure:
        raise replace(failure, api=api) from failure


def _ask(given: EmbeddingsRequest, parameters: Parameters) -> Ask:
    if (given.messages is None) == (given.input is None):
        raise bad("a request has either input or messages", "input")
    purpose, side = pick(given.input_type, INPUT_TYPES, "input_type")
    return Ask(
        model=parameters.get("model") or given.model,
        inputs=conversations(given.messages) if given.messages is not None else inputs_of(given.input),
        side=side,
        task=given.task,
        purpose=purpose,
        prompt_name=given.prompt_name,
        prompt=given.prompt,
        dim=positive("dimensions", given.dimensions, given.output_dimension),
        normalize=given.normalize if given.normalized is None else given.normalized,
        truncation=pick(given.truncation if given.truncate is None else given.truncate, TRUNCATIONS, "truncate"),
        keep_errors=pick(given.errors, KEEP, "errors"),
        late_chunking=bool(given.late_chunking),
    )


def _one_type(given: EmbeddingsRequest) -> str | None:
    kind = given.embedding_type
    if isinstance(kind, list):
        if len(kind) != 1:
            raise bad(f"embedding_type={shown(kind)}: this path gives one type, /v2/embed several", "embedding_type")
        return kind[0]
    return kind


def write(how: Encoding, answer: Answer) -> bytes:
    """Write vectors; one that failed, where that was asked for, has `error` in place of `embedding`."""
    computed = answer.computed
    data: list[dict[str, Any]] = [
        {"object": "embedding", "index": n, "embedding": vector}
        for n, vector in enumerate(how.write(vectors_of(answer)))
    ]
    for n, error in computed.errors.items():
        data[n] = {"object": "error", "index": n, "error": {"message": told(error), "type": "invalid_request_error"}}
    usage = {"prompt_tokens": computed.tokens, "total_tokens": computed.tokens}
    return dump({"object": "list", "model": answer.card.name, "usage": usage, "data": data})


def fail(failure: Failure) -> bytes:
    """Write a failure as the API does whose fields the request had."""
    return dump({**openai_error(failure), **DETAILS.get(failure.api, jina.detail)(failure)})


def openai_error(failure: Failure) -> dict[str, Any]:
    """Return a failure as OpenAI's clients, and Elastic, read it."""
    kind = TYPES.get(failure.reason, "invalid_request_error")
    return {"error": {"message": failure.message, "type": kind, "param": failure.field, "code": failure.reason}}


def models(cards: Sequence[Card], body: bytes, parameters: Parameters) -> bytes:
    """List the models, each with its sides and tasks as models of their own, since no field of OpenAI's says them."""
    return dump({"object": "list", "data": [entry for card in cards for entry in _entries(card)]})


def model(cards: Sequence[Card], body: bytes, parameters: Parameters) -> bytes:
    """Describe one model."""
    wanted = parameters["model"]
    for entry in (entry for card in cards for entry in _entries(card)):
        if entry["id"] == wanted:
            return dump(entry)
    raise Failure(status=404, reason="no_model", message=f"there is no model {wanted!r:.80}", field="model")


def _entries(card: Card) -> list[dict[str, Any]]:
    spec = card.spec
    facts = {
        "dim": spec.dim,
        "max_tokens": spec.max_tokens,
        "images": spec.image is not None,
        "tasks": sorted(spec.tasks),
        "matryoshka_dims": list(spec.matryoshka_dims),
        "level": card.level,
        "fingerprint": spec.fingerprint,
    }
    names = [card.name, *(f"{card.name}:{variant}" for variant in variants(spec))]
    same = {"object": "model", "created": card.created, "owned_by": "edge_embed", "edge_embed": facts}
    return [{"id": name, **same} for name in names]


ENDPOINTS = [
    Endpoint(path=path, read=call, fail=fail, body=EmbeddingsRequest, summary="Embed, as OpenAI, Jina and Voyage do")
    for path in ("/v1/embeddings", "/embeddings", "/openai/deployments/{model:path}/embeddings")
]
LISTINGS = [
    Listing(path="/v1/models", write=models, fail=fail, summary="List the models"),
    Listing(path="/v1/models/{model:path}", write=model, fail=fail, summary="Describe a model"),
]
