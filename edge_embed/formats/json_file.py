"""JSON files of a model's folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from edge_embed.errors import CorruptModelError
from edge_embed.spec import values

LONGEST = 256 << 20  # bytes; no tokenizer.json has a quarter of it


def read_json(path: Path) -> Any:
    """Parse a JSON file; raise CorruptModelError, with its name, for one that cannot be read or is none."""
    return values.parse(_read(path), path)


def read_object(path: Path, default: dict[str, Any] | None = None) -> dict[str, Any]:
    """Parse a JSON file that holds an object; where there is no file, return `default` if it is given.

    Raises CorruptModelError for a file that cannot be read, is not JSON, or holds another kind of value.
    """
    if default is not None and not path.is_file():
        return default
    return values.parse_object(_read(path), path)


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            data = file.read(LONGEST + 1)
    except (OSError, ValueError) as error:  # ValueError: a name that no file can have
        raise CorruptModelError(f"{path} is not JSON: {error}") from error
    if len(data) > LONGEST:
        raise CorruptModelError(f"{path} is not JSON that a model needs: it is longer than {LONGEST:,} bytes")
    return data
