"""A source -> a GGUF file with its weights as F32, F16 or BF16 and everything that llama.cpp must know.

Written tensor by tensor: never more than one of them is in memory.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import gguf
import ml_dtypes
import numpy as np
from numpy.typing import NDArray

from edge_embed.architectures import architecture, implementation, text_values
from edge_embed.errors import CorruptModelError, UnsupportedModelError, listing
from edge_embed.layouts.gguf import FILE_TYPES, POOLING, SPEC_KEY
from edge_embed.spec.model import ModelSpec

from ..checkpoint.source import Array, Reader, Source
from . import dense, names
from .names import Entry, Value
from .vocabulary import vocabulary

FILE_TYPE_NUMBERS = {level: number for number, level in FILE_TYPES.items()}
POOLING_TYPES = {pooling: number for number, pooling in POOLING.items()}
TYPES = {"F32": gguf.GGMLQuantizationType.F32, "F16": gguf.GGMLQuantizationType.F16}
TYPES |= {"BF16": gguf.GGMLQuantizationType.BF16}
QUANTIZATION_VERSION = 2
EXACT = ("position_embd.weight", "token_types.weight")  # tables that llama.cpp adds in float32
HALF_ERROR = 1e-3  # of a tensor's norm; what is rounded to 11 bits loses 3e-4 at most


def names_of(model_type: str) -> ModuleType:
    """Return the file of an architecture's names; raise UnsupportedModelError, listing those that exist."""
    return implementation(names.__name__, model_type, "has no GGUF names; there are {known}")


def name_of(source: Source) -> str:
    """Return what llama.cpp calls a source's architecture."""
    named = names_of(source.spec.architecture)
    own = getattr(named, "CAUSAL_NAME", None) if source.spec.attention == "causal" else None
    name: str = own or named.NAME
    return name


def entries(source: Source) -> list[Entry]:
    """List every tensor of a source's file; raises for a config that llama.cpp cannot compute."""
    named = names_of(source.spec.architecture)
    listed: list[Entry] = named.entries(_config(source), source.spec.max_tokens)
    return [*listed, *(dense.entries(source.spec) if _takes_dense(source) else [])]


def _takes_dense(source: Source) -> bool:
    """Whether llama.cpp computes Dense modules of this architecture."""
    return hasattr(names_of(source.spec.architecture), "DENSE")


def _config(source: Source) -> Any:
    return architecture(source.spec.architecture).read(source.config)


def write_file(path: Path, source: Source, level: str, tokenizer: Path) -> list[str]:
    """Write the file at level F32, F16 or BF16 -> names of the matrices that stay F32 because float16 cannot hold them.

    Matrices and the vocabulary have the level's type; norms, biases and added tables are F32, as llama.cpp expects.
    """
    writer = gguf.GGUFWriter(path, name_of(source))
    for key, value in metadata(source, level, tokenizer).items():
        _add(writer, key, value)
    read = _Reader(source)
    listed = entries(source)
    types = {entry.name: _type(entry, level, read) for entry in listed}
    for entry in listed:
        data = types[entry.name]
        size = int(np.prod(entry.size)) * (4 if data == TYPES["F32"] else 2)
        writer.add_tensor_info(entry.name, entry.size, np.dtype(np.float32), size, raw_dtype=data)
    try:
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_ti_data_to_file()
        for entry in listed:
            writer.write_tensor_data(_cast(read(entry), types[entry.name]))
    finally:
        writer.close()
    return [e.name for e in listed if level == "F16" and types[e.name] == TYPES["F32"] and not _exact(e)]


def metadata(source: Source, level: str, tokenizer: Path) -> dict[str, Value]:
    """Return every key of the file, llama.cpp's own and `edge_embed.spec`: what edge_embed.json would say."""
    spec, config = source.spec, _config(source)
    keys: dict[str, Value] = {
        "general.type": "model",
        "general.name": spec.name,
        "general.file_type": FILE_TYPE_NUMBERS[level],
        "general.quantization_version": QUANTIZATION_VERSION,
        **_origin(spec),
    }
    own: dict[str, Value] = {
        **names_of(spec.architecture).metadata(config),
        **(dense.metadata(spec) if _takes_dense(source) else {}),
        "context_length": spec.max_tokens,
        "vocab_size": config.vocab_size,
        "pooling_type": POOLING_TYPES.get(spec.pooling, 0),
    }
    keys |= {f"{name_of(source)}.{key}": value for key, value in own.items()}
    keys |= vocabulary(tokenizer, {**text_values(source.config), **vars(config)})
    return {**keys, SPEC_KEY: replace(spec, weights=()).to_json()}


def _origin(spec: ModelSpec) -> dict[str, Value]:
    keys: dict[str, Value] = {}
    if spec.license:
        keys["general.license"] = spec.license
    if spec.source:
        page = spec.source if "://" in spec.source else f"https://huggingface.co/{spec.source}"
        keys |= {"general.source.url": page, "general.source.repo_url": page}
    return keys


def _add(writer: gguf.GGUFWriter, key: str, value: Value) -> None:
    if isinstance(value, list | bytes):
        writer.add_array(key, value)
    elif isinstance(value, bool):
        writer.add_bool(key, value)
    elif isinstance(value, int):
        writer.add_uint32(key, value)
    elif isinstance(value, float):
        writer.add_float32(key, value)
    else:
        writer.add_string(key, value)


class _Reader:
    """Reads entries from a source, and refuses a source that holds more than they are."""

    def __init__(self, source: Source) -> None:
        known = architecture(source.spec.architecture)
        self._read = Reader(source.tensors, known.PREFIXES)
        self._dense = dense.weights(source) if _takes_dense(source) else {}
        left = {name.removeprefix(self._read.prefix) for name in source.tensors} - {e.source for e in entries(source)}
        if odd := [name for name in left if not name.startswith(known.UNUSED)]:
            raise UnsupportedModelError(f"{len(odd)} tensors have no place in this architecture: {listing(odd[:5])}")

    def __call__(self, entry: Entry) -> Array:
        if entry.source in self._dense:
            return self._dense[entry.source]
        tensor: Array = self._read(entry.source, *entry.shape)
        if entry.rows is not None and entry.rows[1] > len(tensor):
            start, stop = entry.rows
            raise CorruptModelError(
                f"max_tokens={stop - start}, but {entry.source!r} has {len(tensor) - start} rows for texts"
            )
        return entry.stored(tensor)


def _exact(entry: Entry) -> bool:
    return len(entry.shape) == 1 or entry.name in EXACT


def _type(entry: Entry, level: str, read: _Reader) -> gguf.GGMLQuantizationType:
    """Return the type to write: the level's, but F32 for what llama.cpp wants so or float16 cannot hold."""
    if _exact(entry) or (level == "F16" and not _fits_half(read(entry))):
        return TYPES["F32"]
    return TYPES[level]


def _fits_half(tensor: Array) -> bool:
    """Whether float16 neither overflows nor loses tiny weights; bfloat16 checkpoints may hold both."""
    with np.errstate(over="ignore"):
        half = tensor.astype(np.float16).astype(np.float32)
    if not np.isfinite(half).all():
        return False
    half -= tensor
    return bool(np.linalg.norm(half) <= HALF_ERROR * np.linalg.norm(tensor))


def _cast(tensor: Array, data: gguf.GGMLQuantizationType) -> NDArray[np.generic]:
    tensor = np.ascontiguousarray(tensor)
    if data == TYPES["BF16"]:
        return tensor.astype(ml_dtypes.bfloat16).view(np.uint16)
    return tensor.astype(np.float16) if data == TYPES["F16"] else tensor


def tensor_types(path: Path) -> Mapping[str, str]:
    """Return the type of every tensor of a file, as ggml calls it: `Q4_K`, `F32`."""
    return {tensor.name: tensor.tensor_type.name for tensor in gguf.GGUFReader(path).tensors}


def tensor_sizes(path: Path) -> list[tuple[str, int, int]]:
    """Return name, number of weights and bytes of every tensor of a file."""
    return [(t.name, int(t.n_elements), int(t.n_bytes)) for t in gguf.GGUFReader(path).tensors]
