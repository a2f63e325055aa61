"""A safetensors file's header, and the index of a checkpoint in several files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from edge_embed.errors import CorruptModelError, listing
from edge_embed.spec.names import path_fault

from .json_file import read_object

LONGEST = 100 << 20  # bytes; the longest header that the format allows


def safetensors_header(path: Path) -> dict[str, Any]:
    """Read a safetensors file's header: tensor -> dtype, shape and place; raise CorruptModelError if it has none."""
    try:
        with path.open("rb") as file:
            size = int.from_bytes(file.read(8), "little")
            if size > min(LONGEST, path.stat().st_size):
                raise ValueError(f"a header of {size:,} bytes")
            header = json.loads(file.read(size))
    except (OSError, ValueError) as error:
        raise CorruptModelError(f"{path} is not a whole safetensors file: {error}; fetch it again") from error
    if not isinstance(header, dict):
        raise CorruptModelError(f"{path} is not a safetensors file: its header is no object")
    header.pop("__metadata__", None)
    return header


def weight_map(path: Path) -> dict[str, str]:
    """Read `*.safetensors.index.json`: tensor -> the name of the file beside it that holds it.

    Raises CorruptModelError for an index that is not one, or that names a file elsewhere.
    """
    files = read_object(path).get("weight_map")
    if not isinstance(files, dict) or not files or not all(isinstance(name, str) for name in files.values()):
        raise CorruptModelError(f"{path} has no weight_map that names a file for each tensor; fetch it again")
    if elsewhere := sorted({name for name in files.values() if "/" in name or path_fault(name)}):
        raise CorruptModelError(f"{path} names files that do not lie beside it: {listing(elsewhere)}")
    return files
