"""What an index says of itself: which vector space, how long the vectors are, how texts were cut."""

from __future__ import annotations

import os
import sqlite3
from dataclasses import asdict, dataclass, fields
from typing import Any

from edge_embed.errors import SearchIndexError

MOST_DIMS = 1 << 16


@dataclass(frozen=True, kw_only=True)
class Meta:
    """State an index's vector space: `model` and `task` open it, `fingerprint` names it where that is known.

    `probes` are vectors of known texts, float16, by which two models without fingerprints are compared. `reference` is
    the cosine that unrelated texts reach. `chunk_tokens` is the length of a passage; with `late_chunking`, 1, each is
    read with the whole document. Indexes from before that was known do not state it.
    """

    uuid: str
    model: str
    task: str
    name: str
    fingerprint: str
    level: str
    dims: int
    chunk_tokens: int
    chunker: str
    probes: bytes
    reference: float
    late_chunking: int = 0

    @property
    def bits(self) -> int:
        """Bytes of a passage's signs."""
        return (self.dims + 7) // 8


def new_uuid() -> str:
    """Name an index, so that what is derived from one is never taken for another's."""
    return os.urandom(16).hex()


def write_meta(connection: sqlite3.Connection, meta: Meta) -> None:
    """Write the meta of a new index, within the transaction that is under way."""
    connection.executemany("INSERT INTO meta VALUES (?, ?)", asdict(meta).items())


def read_meta(connection: sqlite3.Connection, path: str) -> Meta:
    """Read an index's meta; raise SearchIndexError for one that says something impossible."""
    found = dict(connection.execute("SELECT key, value FROM meta"))
    kinds = {"int": int, "float": float, "str": str, "bytes": bytes}
    values: dict[str, Any] = {field.name: found.get(field.name) for field in fields(Meta)}
    values["late_chunking"] = found.get("late_chunking", 0)
    for field in fields(Meta):
        if not isinstance(values[field.name], kinds[str(field.type)]):
            raise SearchIndexError(f"{path} is damaged: its meta has no {field.name}; make the index anew")
    meta = Meta(**values)
    if not (0 < meta.dims <= MOST_DIMS and meta.chunk_tokens > 0 and len(meta.uuid) == 32):
        raise SearchIndexError(f"{path} is damaged: its meta says {meta.dims} dimensions; make the index anew")
    return meta


def read_number(connection: sqlite3.Connection, key: str) -> int:
    """Read a number that changes as the index does: `generation` of the derived file, 0 where there was none yet."""
    row = connection.execute("SELECT value FROM meta WHERE key = ?", (key,)).fetchone()
    return int(row[0]) if row is not None and isinstance(row[0], int) else 0


def last_passage(connection: sqlite3.Connection) -> int:
    """Return the highest number that a passage ever had, removed ones among them; 0 before the first."""
    row = connection.execute("SELECT seq FROM sqlite_sequence WHERE name = 'passage'").fetchone()
    return row[0] if row else 0
