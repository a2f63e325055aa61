"""Our own /v1/search and /v1/indexes: queries in, passages of an index out, as `edge-embed search --json` has them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import msgspec

from edge_embed.search.filters import make_filters
from edge_embed.search.hits import to_json
from edge_embed.search.query import MOST_HITS
from edge_embed.search.reader import Question
from edge_embed.server.ask import Answer, Ask, Call, Card, Endpoint, Failure, Item, Listing, Parameters
from edge_embed.server.failures import too_large, unavailable
from edge_embed.server.indexes import Indexes, ServedIndex

from ._common import bad, convert, dump, inputs_of, parse, shown, vectors_of
from .openai import openai_error

MOST_LETTERS = 1 << 14  # of a query: whose words are looked up, and which is looked for letter by letter
MOST_LIMITS = 100  # globs, and values of metadata, each of which is compared with every source
TOP = 10


class SearchRequest(msgspec.Struct):
    """A request to /v1/search. All fields but `query` may be null; a list of queries is answered one by one."""

    query: str | list[str | dict[str, Any]] | dict[str, Any] | None = None
    top: int | None = None
    paths: list[str] | None = None
    since: str | float | None = None
    until: str | float | None = None
    where: dict[str, Any] | None = None
    hybrid: bool | None = None
    least: float | None = None
    index: str | None = None


def call(indexes: Indexes, body: bytes, parameters: Parameters) -> Call:
    """Read a request."""
    raw = parse(body)
    given, ignored = convert(raw, SearchRequest)
    if given.query is None:
        raise bad('query is missing: send a text, or {"image": ...} where the model takes images', "query")
    index = indexes.find(given.index)
    items = inputs_of(given.query, "query")
    questions = _questions(given, items)
    ask = Ask(model=index.model, inputs=items, side="query", dim=index.dims)
    several = isinstance(given.query, list)
    found = partial(write, index, questions, several)
    return Call(ask=ask, write=found, ignored=ignored, executor=index.thread, probe=index.probe())


def _questions(given: SearchRequest, items: Sequence[Item]) -> list[Question]:
    top = TOP if given.top is None else given.top
    if not 1 <= top * len(items) <= MOST_HITS or top < 1:
        raise bad(f"top={shown(given.top)} must be from 1 to {MOST_HITS // len(items)} for {len(items)} queries", "top")
    where = given.where or {}
    values = sum(len(value) if isinstance(value, list) else 1 for value in where.values())
    if len(given.paths or ()) + values > MOST_LIMITS:
        raise bad(f"paths and where hold more than {MOST_LIMITS} values together: give fewer", "where")
    filters = make_filters(given.paths or (), given.since, given.until, where)
    texts = [_text(item) for item in items]
    if (longest := max((len(text or "") for text in texts), default=0)) > MOST_LETTERS:
        raise too_large(f"a query has {longest:,} letters, the limit is {MOST_LETTERS:,}: send less of it")
    by_words = given.hybrid is not False
    return [Question(text=text if by_words else None, top=top, filters=filters, least=given.least) for text in texts]


def _text(item: Item) -> str | None:
    """Return what counts by its words, too: a text without an image."""
    if isinstance(item, Mapping):
        return str(item["text"]) if "image" not in item else None
    return item if isinstance(item, str) else None


def write(index: ServedIndex, questions: Sequence[Question], several: bool, answer: Answer) -> bytes:
    """Search with the vectors, and write the hits; in the index's thread."""
    found = index.search(vectors_of(answer), questions, answer.card.spec.fingerprint)
    answers = [to_json(hits, meta.reference) for hits, meta in found]
    told = {"results": answers} if several else answers[0]
    try:  # metadata may hold what orjson refuses, such as half a letter in UTF-16
        return json.dumps({"index": index.name, "model": answer.card.name, **told}, allow_nan=False).encode("ascii")
    except (ValueError, RecursionError) as error:
        raise unavailable(f"the index {index.name} holds values that JSON cannot say: make it anew") from error


def describe(indexes: Indexes, cards: Sequence[Card], body: bytes, parameters: Parameters) -> bytes:
    """List the indexes."""
    return dump({"indexes": indexes.describe()})


def fail(failure: Failure) -> bytes:
    """Write a failure."""
    return dump(openai_error(failure))


def endpoints(indexes: Indexes) -> list[Endpoint]:
    """Return the path that searches these."""
    summary = "Search an index"
    return [Endpoint(path="/v1/search", read=partial(call, indexes), fail=fail, body=SearchRequest, summary=summary)]


def listings(indexes: Indexes) -> list[Listing]:
    """Return the path that tells of these."""
    write = partial(describe, indexes)
    return [Listing(path="/v1/indexes", write=write, fail=fail, summary="List the indexes", waits=True)]
