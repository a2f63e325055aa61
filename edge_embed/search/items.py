"""Items of the caller's own, such as an agent's memories: an id, a text, metadata."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any, NamedTuple

from edge_embed.errors import InputError
from edge_embed.pipeline.texts import text_fault

from .filters import seconds_of
from .store import Source, metadata_text

KEYS = {"id", "text", "metadata", "time"}
MOST_METADATA = 1 << 20  # letters of one item's, as JSON


class Item(NamedTuple):
    """An item as it is stored, and its text."""

    source: Source
    text: str


def parse_item(given: object, number: int) -> Item:
    """Check one item; raise InputError that names its number."""
    if not isinstance(given, Mapping) or not {"id", "text"} <= given.keys() or given.keys() - KEYS:
        raise InputError(
            f'item {number} is {given!r:.60}, expected {{"id": ..., "text": ...}} with "metadata" and "time" as needed'
        )
    text = given["text"]
    if fault := text_fault(text):
        raise InputError(f"item {number}: the text {fault}")
    return Item(
        Source(
            kind="item",
            key=item_key(given["id"], f"item {number}"),
            time=time.time() if given.get("time") is None else seconds_of(given["time"], f"item {number}: time"),
            metadata=_metadata(given.get("metadata"), number),
        ),
        text,
    )


def item_key(id: object, where: str) -> bytes:
    """Return an id, a text or a whole number, as the index keeps it; raise InputError for another."""
    if isinstance(id, int) and not isinstance(id, bool):
        id = str(id)
    if not isinstance(id, str) or not id or text_fault(id):
        raise InputError(f"{where}: the id {id!r:.60} is neither a text nor a whole number")
    return id.encode()


def _metadata(given: Any, number: int) -> str | None:
    if given is None:
        return None
    try:
        if not isinstance(given, Mapping) or not all(isinstance(key, str) for key in given):
            raise TypeError("it is no dict whose keys are texts")
        text = metadata_text(dict(given))
        text.encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise InputError(f"item {number}: metadata {given!r:.60} is no JSON object: {error}") from error
    if len(text) > MOST_METADATA:
        raise InputError(f"item {number}: its metadata has {len(text):,} letters, the most is {MOST_METADATA:,}")
    return text
