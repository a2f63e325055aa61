"""Tensors -> one safetensors file, written as they come."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
from numpy.typing import NDArray

from edge_embed.errors import CorruptModelError, InputError, listing

from .arrays import shape_of
from .source import Array

DTYPES: dict[str, tuple[str, Any]] = {  # name: name in safetensors, NumPy's
    "float32": ("F32", "<f4"),
    "float16": ("F16", "<f2"),
    "bfloat16": ("BF16", ml_dtypes.bfloat16),
}
BUFFER = "position_ids"  # 0, 1, 2, ... in int64, which transformers saved up to 4.30 and reads no more


def write_safetensors(tensors: Mapping[str, Array], path: Path, dtype: str = "float32") -> None:
    """Write tensors to one safetensors file, which appears whole or not at all, holding one at a time.

    Tables of positions are left out.

    Raises InputError for an unknown dtype or a value that float16 cannot hold.
    """
    if dtype not in DTYPES:
        raise InputError(f"cannot write dtype {dtype!r}: choose from {listing(DTYPES)}")
    shapes = {name: shape_of(tensors, name) for name in tensors if not name.endswith(BUFFER)}
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        with partial.open("wb") as file:
            file.write(_header(shapes, dtype))
            for name, shape in shapes.items():
                file.write(_cast(tensors[name], name, shape, dtype).data)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def _header(shapes: Mapping[str, tuple[int, ...]], dtype: str) -> bytes:
    kind, element = DTYPES[dtype]
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}  # transformers opens no file without it
    end = 0
    for name, shape in shapes.items():
        start, end = end, end + int(np.prod(shape, dtype=np.int64)) * np.dtype(element).itemsize
        header[name] = {"dtype": kind, "shape": shape, "data_offsets": [start, end]}
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)  # the data starts at a multiple of 8, so that it can be mapped
    return len(text).to_bytes(8, "little") + text


def _cast(tensor: Array, name: str, shape: tuple[int, ...], dtype: str) -> NDArray[np.uint8]:
    """Return the tensor's bytes in the file's dtype."""
    if tensor.shape != shape:
        raise CorruptModelError(f"tensor {name!r} has shape {tensor.shape}, {shape} was announced")
    with np.errstate(over="ignore"):  # said below, by name
        cast = np.ascontiguousarray(tensor, DTYPES[dtype][1])
    if not np.isfinite(cast).all():
        raise InputError(f"tensor {name!r} holds a value that {dtype} cannot; write bfloat16 or float32")
    return cast.reshape(-1).view(np.uint8)
