"""JSON files of a model's folder."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from edge_embed.errors import CorruptModelError


def read_json(path: Path) -> Any:
    """Parse a JSON file; raise CorruptModelError, with its name, for one that cannot be read or is none."""
    try:
        return json.loads(path.read_text("utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise CorruptModelError(f"{path} is not JSON: {error}") from error


def read_object(path: Path, default: dict[str, Any] | None = None) -> dict[str, Any]:
    """Parse a JSON file that holds an object; where there is no file, return `default` if it is given.

    Raises CorruptModelError for a file that cannot be read, is not JSON, or holds another kind of value.
    """
    if default is not None and not path.is_file():
        return default
    values = read_json(path)
    if not isinstance(values, dict):
        raise CorruptModelError(f"{path} holds a {type(values).__name__}, not an object; fetch it again")
    return values
