"""What a published checkpoint's own folder does not say: `facts.json`, matched by repository id. Data, no code.

The folder's own files win where they speak; of two lengths the lesser counts. `source` is where the makers state it.
"""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Iterable
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path
from typing import Any

PATH = Path(__file__).with_name("facts.json")
# What other people's conversions append to a model's name: Qdrant's, MLX community's, those of GGUF files.
CONVERTED = re.compile(r"(-(gguf|mlx|onnx|q|[2-8]bit|bf16|fp16))+$", re.I)
logger = logging.getLogger(__name__)


def plain(name: str) -> str:
    """Return a repository's or folder's name without the suffixes of its format."""
    return CONVERTED.sub("", name)


def facts_of(repository: str) -> dict[str, Any]:
    """Return keys of the spec, as parsed JSON, of a repository `user/repo`.

    Every entry counts of which a pattern fits; a later one wins. A suffix that names the format is passed over.
    """
    name = plain(repository)
    return _merged(entry for entry in _entries() if any(_fits(name, pattern) for pattern in entry["match"]))


def facts_of_folder(folder: Path, model_type: object, dim: object) -> dict[str, Any]:
    """Return what is known of a local folder by its own name, if it holds a model of the shape of the one so called.

    Another model may bear that name, so it is said that the name decided. `model_type` is config.json's, or
    general.architecture of a GGUF file; `dim` the width of its vectors.
    """
    name = plain(folder.resolve().name)
    fitting = [
        (pattern, entry)
        for entry in _entries()
        if model_type in entry["model_type"] and dim in (None, _dim(entry, name, dim))
        for pattern in entry["match"]
        if _fits(name, pattern.partition("/")[2])
    ]
    if fitting:
        _tell(folder, fitting[0][0])
    return _merged(entry for _, entry in fitting)


def published() -> list[str]:
    """List the repositories that something is known of, by name; of a pattern for several, what they begin with."""
    names = {name.rstrip("*") for entry in _entries() for name in entry["match"]}
    return sorted(name for name in names if not set(name) & set("*?["))


def known_repositories() -> dict[str, int]:
    """List the repositories that are named in full, each with the width of its vectors, where that is stated."""
    named = {name: entry for entry in _entries() for name in entry["match"] if not set(name) & set("*?[")}
    widths = {name: _dim(entry, name, None) for name, entry in named.items()}
    return {name: width for name, width in sorted(widths.items()) if isinstance(width, int)}


def _dim(entry: dict[str, Any], name: str, default: object) -> object:
    """Return the width of the model of a name, where the entry states it."""
    dims: dict[str, int] = entry.get("dims", {})
    return next((dim for pattern, dim in dims.items() if _fits(name, pattern)), default)


def _fits(name: str, pattern: str) -> bool:
    """Whether a name fits a pattern; of most, the beginning tells, and no regular expression is compiled for them."""
    return name.startswith(re.split(r"[*?[]", pattern, maxsplit=1)[0]) and fnmatchcase(name, pattern)


@cache
def _tell(folder: Path, pattern: str) -> None:
    logger.warning(
        "%s is taken for %s by its name, and has its pooling and prompts where its files state none; rename it if it "
        "is another model",
        folder,
        pattern.rstrip("*"),
    )


def _merged(entries: Iterable[dict[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for entry in entries:
        found |= entry["spec"]
    return found


@cache
def _entries() -> list[dict[str, Any]]:
    entries: list[dict[str, Any]] = json.loads(PATH.read_text("utf-8"))
    return entries
