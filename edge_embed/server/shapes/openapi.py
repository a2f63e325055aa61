"""The document /openapi.json, from the types that requests are read with."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import msgspec

from edge_embed import __version__
from edge_embed.server.ask import Card, Endpoint, Listing, Parameters
from edge_embed.server.indexes import Indexes

from . import cohere, ollama, openai, search, tei
from ._common import dump

MODULES = (openai, cohere, ollama, tei)
ANSWER: dict[str, Any] = {"content": {"application/json": {"schema": {}}}}
REFUSALS = {
    "400": "A field, or an input, that cannot be read",
    "401": "No key, or none of this server's",
    "403": "An image of a kind that is off here",
    "404": "No such model, or index",
    "405": "Another method",
    "413": "Too many inputs, or too large a body",
    "429": "Too much waits: Retry-After says when to come again",
    "500": "The engine failed",
    "503": "The service is about to end, or cannot load the model now",
}
PARAMETER = re.compile(r"\{(\w+)(?::path)?\}")


def document() -> dict[str, Any]:
    """Return the paths of all shapes with their requests' schemas, as OpenAPI 3.1."""
    endpoints: list[Endpoint] = [one for module in MODULES for one in module.ENDPOINTS]
    listings: list[Listing] = [*(one for module in MODULES for one in getattr(module, "LISTINGS", ())), *LISTINGS]
    endpoints, listings = [*endpoints, *search.endpoints(Indexes())], [*listings, *search.listings(Indexes())]
    bodies = [*dict.fromkeys(one.body for one in endpoints if one.body), ollama.OllamaShowRequest]
    schemas, components = msgspec.json.schema_components(bodies, ref_template="#/components/schemas/{name}")
    schema_of = dict(zip(bodies, schemas, strict=True))
    paths: dict[str, dict[str, Any]] = {}
    for endpoint in endpoints:
        body = schema_of[endpoint.body] if endpoint.body else {}
        paths.setdefault(_plain(endpoint.path), {})["post"] = _operation(endpoint.path, endpoint.summary, body)
    for listing in listings:
        for method in listing.methods:
            told = schema_of[ollama.OllamaShowRequest] if method == "POST" else None
            operation = _operation(listing.path, listing.summary, told, listing.query)
            paths.setdefault(_plain(listing.path), {})[method.lower()] = operation
    return {
        "openapi": "3.1.0",
        "info": {"title": "edge_embed", "version": __version__, "description": "Texts and images to vectors."},
        "paths": paths,
        "components": {"schemas": components, "securitySchemes": {"key": {"type": "http", "scheme": "bearer"}}},
        "security": [{}, {"key": []}],
    }


def _plain(path: str) -> str:
    return PARAMETER.sub(r"{\1}", path)


def _operation(path: str, summary: str, body: Any, query: Sequence[str] = ()) -> dict[str, Any]:
    refused = {status: {"description": why, **ANSWER} for status, why in REFUSALS.items()}
    operation: dict[str, Any] = {"summary": summary, "responses": {"200": {"description": "Done", **ANSWER}, **refused}}
    places = [(name, "path") for name in PARAMETER.findall(path)] + [(name, "query") for name in query]
    if places:
        operation["parameters"] = [
            {"name": name, "in": place, "required": place == "path", "schema": {"type": "string"}}
            for name, place in places
        ]
    if body is not None:
        operation["requestBody"] = {"required": True, "content": {"application/json": {"schema": body}}}
    return operation


def write(cards: Sequence[Card], body: bytes, parameters: Parameters) -> bytes:
    """Write the document."""
    return dump(document())


LISTINGS = [Listing(path="/openapi.json", write=write, fail=openai.fail, summary="This document")]
