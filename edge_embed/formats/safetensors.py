"""A safetensors file's header, its tensors mapped, and the index of a checkpoint in several files."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_embed.errors import CorruptModelError, UnsupportedModelError, listing
from edge_embed.spec.names import path_fault
from edge_embed.spec.values import parse_object, shown

from .json_file import read_object

LONGEST = 100 << 20  # bytes; the longest header that the format allows
DIMENSIONS = 8  # of a tensor, more than any has
BITS = {  # of an element, by the dtype's name
    **{"BOOL": 8, "U8": 8, "I8": 8, "F8_E4M3": 8, "F8_E5M2": 8, "F8_E8M0": 8, "F4": 4},
    **{"U16": 16, "I16": 16, "F16": 16, "BF16": 16, "U32": 32, "I32": 32, "F32": 32, "U64": 64, "I64": 64, "F64": 64},
}
# As NumPy names them; bfloat16 by its bits.
DTYPES = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": "<u2", "I64": "<i8", "I32": "<i4", "I8": "i1"}


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


def tensor_names(path: Path) -> list[str]:
    """List the names of a checkpoint's tensors, by its index or its header."""
    return [*(weight_map(path) if path.suffix == ".json" else safetensors_header(path))]


def map_tensors(path: Path) -> dict[str, NDArray[Any]]:
    """Map a file's tensors into memory, read when looked at; bfloat16, which NumPy has not, is widened to float32.

    Raises CorruptModelError for a damaged file, UnsupportedModelError for a type that is not a number of NumPy's.
    """
    header = safetensors_header(path)
    with path.open("rb") as file:
        start = 8 + int.from_bytes(file.read(8), "little")
    found: dict[str, NDArray[Any]] = {}
    for name, entry in header.items():
        kind, (begin, stop) = entry["dtype"], entry["data_offsets"]
        if kind not in DTYPES:
            raise UnsupportedModelError(f"{path}: tensor {shown(name)} is {kind}; only {listing(DTYPES)} can be read")
        dtype = np.dtype(DTYPES[kind])
        if begin == stop:
            found[name] = np.empty(entry["shape"], dtype)
            continue
        data: NDArray[Any] = np.memmap(path, dtype, "r", start + begin, tuple(entry["shape"]))
        found[name] = (data.astype(np.uint32) << 16).view(np.float32) if kind == "BF16" else data
    return found


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
