"""A whole file's texts at once, for those who have memory for them."""

from __future__ import annotations

import os
from pathlib import Path

from edge_embed.errors import InputError

from .row import Columns, Input
from .source import Source, kind_of


def read_inputs(path: str | os.PathLike[str], column: str | None = None) -> list[Input]:
    """Return the texts, or the images, of a file or a folder; raise InputError that names the first wrong line."""
    place = Path(path)
    source = Source(place, kind_of(place), Columns(text=column))
    try:
        source.check()
        found: list[Input] = []
        for row in source.all_rows():
            if row.fault is not None:
                raise InputError(f"{place}, line {row.line}: {row.fault.message}")
            assert row.input is not None
            found.append(row.input)
    finally:
        source.close()
    return found
