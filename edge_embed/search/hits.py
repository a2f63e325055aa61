"""What a search gives back."""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from edge_embed.errors import SearchIndexError, printable


@dataclass(frozen=True, kw_only=True)
class SearchHit:
    """A passage that was found: `score` is its cosine with the query, whatever put it in its place.

    `path` is a file's, `id` an item's; `line` and `page` count from 1, where the source has them; `start` and `stop`
    are the passage's letters in the source's text. `literal`: it holds the query letter for letter. `time` is when
    the source was changed, in seconds since 1970.

    >>> SearchHit(text="Tea is served.", score=0.5, path="menu.txt", line=3).place
    'menu.txt:3'
    """

    text: str
    score: float
    path: str | None = None
    id: str | None = None
    line: int | None = None
    page: int | None = None
    start: int = 0
    stop: int = 0
    literal: bool = False
    time: float = 0.0
    metadata: Mapping[str, Any] = field(default_factory=dict)

    @property
    def place(self) -> str:
        """Say where it stands, as compilers do: `path:line`, `path, page 3`, or an item's id."""
        if self.page is not None:
            return f"{self.path}, page {self.page}"
        return f"{self.path or self.id}" + (f":{self.line}" if self.line is not None else "")

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON's values; bytes of a name that are no UTF-8 are written as escapes."""
        known = {name: value for name, value in vars(self).items() if value is not None and value != {}}
        return {**known, "path": printable(self.path)} if self.path is not None else known


def to_json(hits: Sequence[SearchHit], reference: float) -> dict[str, Any]:
    """Return an answer as JSON's values, the same from a command and a service: hits, and unrelated texts' cosine."""
    return {"reference": reference, "hits": [hit.to_json() for hit in hits]}


def read_hits(
    connection: sqlite3.Connection, ids: Sequence[int], scores: Mapping[int, float], literal: frozenset[int]
) -> list[SearchHit]:
    """Read passages with their sources, in the order of their ids; those that are not there are left out."""
    marks = ",".join("?" * len(ids))
    rows = connection.execute(
        "SELECT p.id, p.start, p.stop, p.place, p.text, s.kind, s.key, s.unit, s.time, s.metadata "
        f"FROM passage AS p JOIN source AS s ON s.id = p.source WHERE p.id IN ({marks})",
        ids,
    )
    found = {row[0]: row[1:] for row in rows}
    return [_hit(found[id], scores[id], id in literal) for id in ids if id in found]


def _hit(row: Sequence[Any], score: float, literal: bool) -> SearchHit:
    """Read a row; raise SearchIndexError for one whose values are of other types than the tables'."""
    start, stop, place, text, kind, key, unit, time, metadata = row
    try:
        return SearchHit(
            text=text,
            score=score,
            path=os.fsdecode(key) if kind == "file" else None,
            id=key.decode("utf-8", "replace") if kind == "item" else None,
            line=place if unit == "line" else None,
            page=place if unit == "page" else None,
            start=start,
            stop=stop,
            literal=literal,
            time=time,
            metadata=json.loads(metadata) if metadata else {},
        )
    except (TypeError, ValueError, AttributeError, RecursionError) as error:
        raise SearchIndexError(f"the index is damaged: the source {key!r:.60} has {error}; make it anew") from error
