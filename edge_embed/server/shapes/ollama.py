"""Ollama's /api/embed and /api/embeddings, and what its clients ask of the models: tags, show, ps, version."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import partial
from typing import Any

import msgspec

from edge_embed import __version__
from edge_embed.server.ask import Answer, Ask, Call, Card, Endpoint, Failure, Listing, Parameters
from edge_embed.server.names import LATEST, card_of, variants

from ._common import bad, convert, dump, inputs_of, parse, pick, positive, vectors_of
from ._errors import KEEP, errors_of, refuse_kept
from ._words import TRUNCATIONS, Encoding

SECOND = 1e9  # Ollama counts nanoseconds


class OllamaEmbedRequest(msgspec.Struct):
    """A request to /api/embed. Of `options`, which speak of another engine, none is known; models stay as served.

    `errors` is ours.
    """

    model: str | None = None
    input: str | list[str | int | list[int] | dict[str, Any]] | None = None
    truncate: bool | None = None
    dimensions: int | None = None
    keep_alive: str | float | None = None
    options: dict[str, Any] | None = None
    errors: str | None = None


class OllamaEmbeddingsRequest(msgspec.Struct):
    """A request to /api/embeddings, the older path: one text."""

    model: str | None = None
    prompt: str | None = None
    keep_alive: str | float | None = None
    options: dict[str, Any] | None = None
    errors: str | None = None


class OllamaShowRequest(msgspec.Struct):
    """A request to /api/show."""

    model: str | None = None
    name: str | None = None


def embed(body: bytes, parameters: Parameters) -> Call:
    """Read a request to /api/embed; one without an input loads the model, as with Ollama."""
    given, ignored = convert(parse(body), OllamaEmbedRequest)
    ask = Ask(
        model=given.model,
        inputs=inputs_of(given.input) if given.input else [],
        dim=positive("dimensions", given.dimensions),
        truncation=pick(given.truncate, TRUNCATIONS, "truncate"),
        keep_errors=pick(given.errors, KEEP, "errors"),
    )
    return Call(ask=ask, write=partial(write_embed, given.model), ignored=ignored + _passed_over(given))


def embeddings(body: bytes, parameters: Parameters) -> Call:
    """Read a request to /api/embeddings."""
    given, ignored = convert(parse(body), OllamaEmbeddingsRequest)
    refuse_kept(given.errors, "an answer of this path is one vector or none: /api/embed takes it")
    ask = Ask(model=given.model, inputs=[given.prompt] if given.prompt else [])
    return Call(ask=ask, write=write_embeddings, ignored=ignored + _passed_over(given))


def _passed_over(given: OllamaEmbedRequest | OllamaEmbeddingsRequest) -> list[str]:
    options = [f"options.{name}" for name, value in (given.options or {}).items() if value is not None]
    return [*options, *(["keep_alive"] if given.keep_alive is not None else [])]


def write_embed(name: str | None, answer: Answer) -> bytes:
    """Write the vectors, under the name that the model was asked for by; null in the place of one that failed."""
    times = answer.computed.timings
    total = times.tokenize + times.queue + times.compute
    return dump(
        {
            "model": name or answer.card.name,
            "embeddings": Encoding().write(vectors_of(answer), answer.computed.errors),
            "total_duration": int(total * SECOND),
            "load_duration": 0,
            "prompt_eval_count": answer.computed.tokens,
            **errors_of(answer),
        }
    )


def write_embeddings(answer: Answer) -> bytes:
    """Write the one vector; none where there was no text."""
    return dump({"embedding": next(iter(vectors_of(answer)), [])})


def fail(failure: Failure) -> bytes:
    """Write a failure as Ollama does."""
    return dump({"error": failure.message})


def tags(cards: Sequence[Card], body: bytes, parameters: Parameters) -> bytes:
    """List the models, each with its sides and tasks as tags."""
    return dump({"models": [_entry(card, tag) for card in cards for tag in (LATEST, *variants(card.spec))]})


def running(cards: Sequence[Card], body: bytes, parameters: Parameters) -> bytes:
    """List the models in memory."""
    return dump({"models": [_loaded(card) for card in cards if card.loaded]})


def show(cards: Sequence[Card], body: bytes, parameters: Parameters) -> bytes:
    """Describe one model; raise Failure for none."""
    given, _ = convert(parse(body), OllamaShowRequest)
    if not (given.model or given.name):
        raise bad("model is missing: name one", "model")
    card = card_of(cards, given.model or given.name)
    spec, about = card.spec, _details(card)
    return dump(
        {
            "modelfile": f"# {card.name}, served by edge_embed",
            "parameters": "",
            "template": "{{ .Prompt }}",
            "license": spec.license or "",
            "details": about,
            "model_info": {
                "general.architecture": spec.architecture,
                f"{spec.architecture}.context_length": spec.max_tokens,
                f"{spec.architecture}.embedding_length": spec.dim,
            },
            "capabilities": ["embedding", *(["vision"] if spec.image is not None else [])],
            "modified_at": _date(card.created),
        }
    )


def version(cards: Sequence[Card], body: bytes, parameters: Parameters) -> bytes:
    """Tell our own version."""
    return dump({"version": __version__})


def here(cards: Sequence[Card], body: bytes, parameters: Parameters) -> bytes:
    """Answer those who ask whether anybody is here."""
    return b""


def _entry(card: Card, tag: str) -> dict[str, Any]:
    name = f"{card.name}:{tag}"
    digest = hashlib.sha256(f"{card.spec.fingerprint} {card.level} {card.name}".encode()).hexdigest()
    return {
        "name": name,
        "model": name,
        "modified_at": _date(card.created),
        "size": card.bytes,
        "digest": digest,
        "details": _details(card),
    }


def _loaded(card: Card) -> dict[str, Any]:
    never = datetime(9999, 12, 31, tzinfo=UTC).timestamp()
    ends = never if card.expires is None else card.expires
    return {
        **_entry(card, LATEST),
        "expires_at": _date(ends),
        "size_vram": 0,
        "context_length": card.spec.max_tokens,
    }


def _details(card: Card) -> dict[str, Any]:
    format, _, level = card.level.partition(":")
    family = card.spec.architecture
    return {
        "parent_model": "",
        "format": format,
        "family": family,
        "families": [family],
        "parameter_size": "",
        "quantization_level": level,
    }


def _date(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat().replace("+00:00", "Z")


ENDPOINTS = [
    Endpoint(path="/api/embed", read=embed, fail=fail, body=OllamaEmbedRequest, summary="Embed, as Ollama does"),
    Endpoint(
        path="/api/embeddings",
        read=embeddings,
        fail=fail,
        body=OllamaEmbeddingsRequest,
        summary="Embed one text, as Ollama did before",
    ),
]
LISTINGS = [
    Listing(path="/api/tags", write=tags, fail=fail, summary="List the models, as Ollama does"),
    Listing(path="/api/ps", write=running, fail=fail, summary="List the models in memory"),
    Listing(path="/api/version", write=version, fail=fail, summary="Tell the version"),
    Listing(path="/api/show", write=show, fail=fail, methods=("POST",), summary="Describe a model"),
    Listing(path="/", write=here, fail=fail, methods=("HEAD",), summary="Tell that the service is here"),
]
