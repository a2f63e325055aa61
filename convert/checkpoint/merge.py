"""Base checkpoint + LoRA adapter -> `Merged`: the base's tensors with what the adapter adds, in float32, one by one.

Also writes tensors to a safetensors file, one by one. NumPy only; no PyTorch, no PEFT.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
from numpy.typing import NDArray

from edge_embed.errors import CorruptModelError, InputError, listing

from .adapters import Adapter, open_adapter
from .matching import Change, Match, shape_of
from .source import Array

__all__ = ["Adapter", "Merged", "open_adapter", "write_safetensors"]

DTYPES: dict[str, tuple[str, Any]] = {  # name: name in safetensors, NumPy's
    "float32": ("F32", "<f4"),
    "float16": ("F16", "<f2"),
    "bfloat16": ("BF16", ml_dtypes.bfloat16),
}


class Merged(Mapping[str, Array]):
    """The base's tensors by name with the adapter merged in, each computed in float32 when asked for.

    `tied`: config.json's tie_word_embeddings. Raises CorruptModelError where adapter and base contradict each other,
    UnsupportedModelError for what cannot be merged, both from names and shapes, before any weight is computed.
    """

    def __init__(self, base: Mapping[str, Array], adapter: Adapter, *, tied: bool = False) -> None:
        self._base, self._adapter = base, adapter.tensors
        self._names = dict.fromkeys(base)
        self._changes = Match(base, adapter).changes(tied=tied)

    def __getitem__(self, name: str) -> Array:
        change = self._changes.get(name, Change())
        tensor = np.asarray(self._adapter[change.whole] if change.whole else self._base[name], np.float32)
        with np.errstate(all="ignore"):  # what is not finite is reported below, by name
            if change.bias:
                tensor = tensor + np.float32(change.scale) * self._adapter[change.bias]
            if change.factors:
                tensor = self._add_low_rank(tensor, change, *change.factors)
        if not np.isfinite(tensor).all():
            raise CorruptModelError(f"tensor {name!r} holds NaN or infinity once merged; save the adapter again")
        return tensor

    def _add_low_rank(self, weight: Array, change: Change, a: str, b: str) -> Array:
        first, second = self._adapter[a], self._adapter[b] * np.float32(change.scale)
        merged: Array = np.matmul(first.T, second.T) if change.transposed else np.matmul(second, first)
        merged += weight
        if change.magnitude:
            sums = "io,io->o" if change.transposed else "oi,oi->o"
            norms = np.sqrt(np.einsum(sums, merged, merged, dtype=np.float64))
            factors = (self._adapter[change.magnitude] / norms).astype(np.float32)
            merged *= factors if change.transposed else factors[:, None]
        return merged

    def __contains__(self, name: object) -> bool:
        return name in self._names

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)

    def shape(self, name: str) -> tuple[int, ...]:
        """Return a tensor's shape without computing its values."""
        return shape_of(self._base, name)


def write_safetensors(tensors: Mapping[str, Array], path: Path, dtype: str = "float32") -> None:
    """Write tensors to one safetensors file, which appears whole or not at all, holding one at a time.

    Raises InputError for an unknown dtype or a value that float16 cannot hold.
    """
    if dtype not in DTYPES:
        raise InputError(f"cannot write dtype {dtype!r}: choose from {listing(DTYPES)}")
    shapes = {name: shape_of(tensors, name) for name in tensors}
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
