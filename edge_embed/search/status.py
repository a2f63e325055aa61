"""What an index holds, and how large it is."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .database import Database
from .schema import MEMORY
from .signs import place_of


@dataclass(frozen=True, kw_only=True)
class Status:
    """Files, items and passages of an index; `left_out` are files without text, and why; sizes in bytes."""

    path: str
    model: str
    fingerprint: str
    level: str
    dims: int
    chunk_tokens: int
    late_chunking: bool
    reference: float
    files: int
    items: int
    passages: int
    roots: tuple[str, ...]
    left_out: tuple[tuple[str, str], ...]
    bytes: int
    derived_bytes: int

    def to_json(self) -> dict[str, Any]:
        """Return all of it as JSON's values."""
        return vars(self)


def read_status(database: Database) -> Status:
    """Count what there is."""
    meta = database.meta
    kinds = dict(database.rows("SELECT kind, count(*) FROM source WHERE fault IS NULL GROUP BY kind"))
    faults = database.rows(
        "SELECT CAST(key AS BLOB), CAST(fault AS TEXT) FROM source WHERE fault IS NOT NULL ORDER BY key"
    )
    roots = database.rows("SELECT CAST(path AS BLOB) FROM root ORDER BY path")
    return Status(
        path=database.path,
        model=meta.model or meta.name,
        fingerprint=meta.fingerprint,
        level=meta.level.partition(" ")[0],  # 0.2 put the engine behind it, where that was not the format's own
        dims=meta.dims,
        chunk_tokens=meta.chunk_tokens,
        late_chunking=bool(meta.late_chunking),
        reference=meta.reference,
        files=kinds.get("file", 0),
        items=kinds.get("item", 0),
        passages=database.rows("SELECT count(*) FROM passage")[0][0],
        roots=tuple(os.fsdecode(path) for (path,) in roots),
        left_out=tuple((os.fsdecode(path), fault) for path, fault in faults),
        bytes=_size(Path(database.path)),
        derived_bytes=_size(place_of(database.path)),
    )


def _size(path: Path) -> int:
    if str(path).startswith(MEMORY):
        return 0
    return sum(place.stat().st_size for place in (path, Path(f"{path}-wal")) if place.exists())
