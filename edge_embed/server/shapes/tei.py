"""Text Embeddings Inference's /embed and /info; Hugging Face's InferenceClients post the same to /."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from edge_embed import __version__
from edge_embed.pipeline.tokenizer import Truncation
from edge_embed.server.ask import Answer, Ask, Call, Card, Endpoint, Failure, Listing, Parameters
from edge_embed.server.names import card_of

from ._common import MOST_INPUTS, bad, check_number, convert, dump, inputs_of, parse, pick, positive, vectors_of
from ._errors import KEEP, refuse_kept, told

DIRECTIONS: Mapping[str | None, Truncation] = {
    None: "end",
    "right": "end",
    "Right": "end",
    "left": "start",
    "Left": "start",
}
MOST_LETTERS = 1 << 18  # each may be a token, of which the answer says some 80 bytes
KINDS = {"overloaded": "Overloaded", "unavailable": "Unhealthy", "internal": "Backend"}


class TeiRequest(msgspec.Struct):
    """A request to /embed or /. All fields but `inputs` may be null; `model` and `errors` are ours."""

    inputs: str | list[str | int | list[int] | dict[str, Any]] | dict[str, Any] | None = None
    model: str | None = None
    normalize: bool | None = None
    truncate: bool | None = None
    truncation_direction: str | None = None
    prompt_name: str | None = None
    dimensions: int | None = None
    errors: str | None = None


class TeiTokenizeRequest(msgspec.Struct):
    """A request to /tokenize."""

    inputs: str | list[str] | None = None
    model: str | None = None
    add_special_tokens: bool | None = None
    errors: str | None = None


def call(body: bytes, parameters: Parameters) -> Call:
    """Read a request."""
    given, ignored = convert(parse(body), TeiRequest)
    if given.inputs is None:
        raise bad("inputs is missing: send a text or a list of texts", "inputs")
    direction = pick(given.truncation_direction, DIRECTIONS, "truncation_direction")
    ask = Ask(
        model=given.model,
        inputs=inputs_of(given.inputs, "inputs"),
        prompt_name=given.prompt_name,
        dim=positive("dimensions", given.dimensions),
        normalize=given.normalize,
        truncation="error" if given.truncate is False else direction,
        keep_errors=pick(given.errors, KEEP, "errors"),
    )
    return Call(ask=ask, write=write, ignored=ignored)


def write(answer: Answer) -> bytes:
    """Write the vectors, a list for each, and for one that failed what `fail` writes."""
    rows: list[Any] = list(vectors_of(answer))
    for n, error in answer.computed.errors.items():
        rows[n] = _failed(told(error))
    return dump(rows)


def tokenize(body: bytes, parameters: Parameters) -> Call:
    """Read a request for the tokens of texts, which are no more than MOST_LETTERS long together."""
    given, ignored = convert(parse(body), TeiTokenizeRequest, {"prompt_name": ()})
    refuse_kept(given.errors, "no text fails by itself here")
    texts = [given.inputs] if isinstance(given.inputs, str) else given.inputs or []
    check_number(len(texts), "inputs")
    if (letters := sum(map(len, texts))) > MOST_LETTERS:
        message = f"inputs have {letters:,} letters, this server tells the tokens of {MOST_LETTERS:,} at a time"
        raise Failure(status=413, reason="too_large", message=message, field="inputs")
    ask = Ask(model=given.model, inputs=texts, pieces="text" if given.add_special_tokens is False else "all")
    return Call(ask=ask, write=write_pieces, ignored=ignored)


def write_pieces(answer: Answer) -> bytes:
    """Write the tokens of each text, with their places in it."""
    return dump([[piece._asdict() for piece in pieces] for pieces in answer.computed.pieces])


def fail(failure: Failure) -> bytes:
    """Write a failure as TEI does."""
    return dump(_failed(failure.message, KINDS.get(failure.reason, "Validation")))


def _failed(message: str, kind: str = "Validation") -> dict[str, str]:
    return {"error": message, "error_type": kind}


def info(cards: Sequence[Card], body: bytes, parameters: Parameters) -> bytes:
    """Describe the model that `?model=` names, or the first, which requests without a name get."""
    card = card_of(cards, parameters.get("model"))
    return dump(
        {
            "model_id": card.name,
            "model_sha": card.spec.revision,
            "model_dtype": card.level.rpartition(":")[2],
            "model_type": {"embedding": {"pooling": card.spec.pooling}},
            "max_input_length": card.spec.max_tokens,
            "max_client_batch_size": MOST_INPUTS,
            "auto_truncate": True,
            "version": __version__,
        }
    )


ENDPOINTS = [
    Endpoint(path=path, read=call, fail=fail, body=TeiRequest, summary="Embed, as TEI and Hugging Face's clients do")
    for path in ("/embed", "/")
]
ENDPOINTS.append(
    Endpoint(path="/tokenize", read=tokenize, fail=fail, body=TeiTokenizeRequest, summary="Tell the tokens of texts")
)
LISTINGS = [
    Listing(
        path="/info", write=info, fail=fail, query=("model",), summary="Describe the first model, or one, as TEI does"
    )
]
