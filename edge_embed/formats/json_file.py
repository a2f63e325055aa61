"""JSON files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from edge_embed.errors import CorruptModelError


def read_json(path: Path, default: Any = None) -> Any:
    """Parse a JSON file; one that is not there gives `default`, if that is not None, else raises CorruptModelError."""
    if default is not None and not path.is_file():
        return default
    try:
        return json.loads(path.read_text("utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise CorruptModelError(f"{path} is not JSON: {error}") from error
