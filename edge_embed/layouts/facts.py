"""What a published checkpoint's own folder does not say: `facts.json`, matched by repository id. Data, no code.

The folder's own files win where they speak; of two lengths the lesser counts.
"""

from __future__ import annotations

import json
import re
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path
from typing import Any

PATH = Path(__file__).with_name("facts.json")


def plain(name: str) -> str:
    """Return a repository's or folder's name without the suffix of its format."""
    return re.sub(r"-(gguf|mlx)$", "", name, flags=re.I)


def facts_of(name: str) -> dict[str, Any]:
    """Return keys of the spec, as parsed JSON, of a repository `user/repo`, or of a local folder by its name alone.

    Every entry counts of which a pattern fits; a later one wins. A suffix that names the format is passed over.
    """
    found: dict[str, Any] = {}
    name = plain(name)
    for entry in _entries():
        patterns = [pattern if "/" in name else pattern.partition("/")[2] for pattern in entry["match"]]
        if any(fnmatchcase(name, pattern) for pattern in patterns):
            found |= entry["spec"]
    return found


@cache
def _entries() -> list[dict[str, Any]]:
    entries: list[dict[str, Any]] = json.loads(PATH.read_text("utf-8"))
    return entries
