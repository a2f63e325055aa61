"""A safetensors file's header, and the index of a checkpoint in several files."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from edge_embed.errors import CorruptModelError, listing
from edge_embed.spec.names import path_fault
from edge_embed.spec.values import parse_object, shown

from .json_file import read_object

LONGEST = 100 << 20  # bytes; the longest header that the format allows
DIMENSIONS = 8  # of a tensor, more than any has
BITS = {  # of an element, by the dtype's name
    **{"BOOL": 8, "U8": 8, "I8": 8, "F8_E4M3": 8, "F8_E5M2": 8, "F8_E8M0": 8, "F4": 4},
    **{"U16": 16, "I16": 16, "F16": 16, "BF16": 16, "U32": 32, "I32": 32, "F32": 32, "U64": 64, "I64": 64, "F64": 64},
}


def safetensors_header(path: Path) -> dict[str, Any]:
    """Read a safetensors file's header: tensor -> dtype, shape and place; raise CorruptModelError if it has none."""
    try:
        with path.open("rb") as file:
            size = int.from_bytes(file.read(8), "little")
            if size > min(LONGEST, path.stat().st_size):
                raise ValueError(f"a header of {size:,} bytes")
            text, room = file.read(size), path.stat().st_size - 8 - size
    except (OSError, ValueError) as error:
        raise CorruptModelError(f"{path} is not a whole safetensors file: {error}; fetch it again") from error
    header = parse_object(text, f"{path}'s header")
    header.pop("__metadata__", None)
    for name, entry in header.items():
        if not _is_tensor(entry, room):
            raise CorruptModelError(
                f"{path} is not a whole safetensors file: {shown(name)} is {shown(entry)}, expected dtype, shape and "
                f"data_offsets within {room:,} bytes; fetch it again"
            )
    return header


def _is_tensor(entry: object, room: int) -> bool:
    """Whether a header's entry describes a tensor whose bytes lie in the `room` that follows the header."""
    if not isinstance(entry, dict) or not isinstance(entry.get("dtype"), str):
        return False
    shape: Any = entry.get("shape")
    offsets: Any = entry.get("data_offsets")
    if not _are_sizes(shape) or not _are_sizes(offsets):
        return False
    bits = BITS.get(entry["dtype"])
    if len(offsets) != 2 or not offsets[0] <= offsets[1] <= room or len(shape) > DIMENSIONS:
        return False
    return bits is None or math.prod(shape) * bits == 8 * (offsets[1] - offsets[0])


def _are_sizes(value: object) -> bool:
    return isinstance(value, list) and all(type(size) is int and size >= 0 for size in value)


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
