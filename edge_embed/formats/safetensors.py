"""A safetensors file's header."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from edge_embed.errors import CorruptModelError

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
