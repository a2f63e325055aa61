"""A GGUF file -> `Source`: a checkpoint of the architecture whose names and keys it has, rebuilt from what it says.

Weights are what the file's level left of them. What a config.json would say is read from the metadata, and compared
with what we would write of it: a file that says more, or something else, is refused with the key.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from edge_embed.architectures import architecture, file_name, text_values
from edge_embed.architectures import names as architectures
from edge_embed.backends.gguf.checks import check_model
from edge_embed.errors import CorruptModelError, UnsupportedModelError, listing
from edge_embed.formats.gguf import Header, parts_of, read_header
from edge_embed.formats.gguf_dense import NAMES as DENSE
from edge_embed.formats.gguf_dense import holds_dense
from edge_embed.formats.json_file import read_object
from edge_embed.layouts.folder import ModelFolder
from edge_embed.spec.values import shown

from ..checkpoint.source import Source, with_hashes
from . import dense, names
from .names import Stated
from .tensors import Restored
from .tokenizer import build_tokenizer

# Keys that change no vector, or, as the length of the context, whose meaning the tensors' shapes repeat.
IDLE = ("context_length", "pooling_type", "tensor_data_layout", "vocab_size")
# What is read and checked elsewhere: of the layers with a window, whether they are listed or counted; Dense modules.
ELSEWHERE = ("attention.sliding_window_pattern", *(f"{name}_feat_{side}" for name in DENSE for side in ("in", "out")))
UNSCALED = "rope.scaling."  # of no effect where positions are not scaled
NOTHING: tuple[object, ...] = (0, False, "", "none")
CONFIG = "config.json"


def open_gguf(repo: ModelFolder, path: Path) -> Source:
    """Read a GGUF file, or the first of its parts, as the checkpoint of an architecture; weights stay on disk.

    Where no tokenizer.json lies beside it, one is made of its vocabulary. Raises UnsupportedModelError for an
    architecture without a way back and for what it does not know, CorruptModelError for a file that contradicts itself.
    """
    headers = [read_header(part) for part in parts_of(path)]
    tensors = {name: tensor for header in headers for name, tensor in header.tensors.items()}
    metadata = {**_attention(headers[0], repo.spec.attention), **headers[0].metadata}
    header = replace(headers[0], tensors=tensors, metadata=metadata)
    check_model(header)
    ways = ways_back()
    if header.architecture not in ways:
        raise UnsupportedModelError(
            f"{header.path} is {header.architecture!r}, from which there is no way back to a checkpoint; there is from "
            f"{listing(sorted(ways))}: convert from the original checkpoint"
        )
    named, model_type = ways[header.architecture]
    if repo.spec.image is not None:
        raise UnsupportedModelError(
            f"{path} is the part for texts of a model that reads images: convert from the original checkpoint"
        )
    stated = Stated(header, _beside(repo.folder, header.architecture))
    config = {"model_type": model_type, **named.config_of(stated)}
    try:
        read = architecture(model_type).read(config)
        entries = named.entries(read, stated.whole("context_length"))
    except (CorruptModelError, UnsupportedModelError) as error:
        raise type(error)(f"{path}, whose metadata were read as {CONFIG}: {error}") from error
    _check_metadata(header, named.metadata(read), model_type)
    unread = (*getattr(named, "UNREAD", ()), *(f"{name}.weight" for name in DENSE if holds_dense(header)))
    restored = Restored(headers, entries, unread)
    spec, made = replace(with_hashes(repo), architecture=model_type), dict[str, bytes]()
    if not spec.dense:
        modules, made = dense.restored(headers)
        spec = replace(spec, dense=modules)
    if not repo.tokenizer.is_file():
        made |= {name: text.encode() for name, text in build_tokenizer(header).items()}
    files = (*(one.path for one in headers), *(repo.folder / name for name in repo.dense))
    return Source(repo.folder, spec, config, restored, files, made)


def _attention(header: Header, described: str | None) -> dict[str, Any]:
    """Return the key of attention as the model is described, by facts or a user, for a file that lacks it."""
    return {} if described is None else {f"{header.architecture}.attention.causal": described == "causal"}


def ways_back() -> dict[str, tuple[ModuleType, str]]:
    """Return, for what GGUF files call architectures, the names and the model_type that they come back as."""
    found: dict[str, tuple[ModuleType, str]] = {}
    for model_type in architectures(names.__name__):
        module = importlib.import_module(f"{names.__name__}.{model_type}")
        if hasattr(module, "config_of"):
            found |= dict.fromkeys((module.NAME, getattr(module, "CAUSAL_NAME", module.NAME)), (module, model_type))
    return found


def _beside(folder: Path, kind: str) -> Mapping[str, Any]:
    """Return config.json's values under their usual names, where it is one of the file's architecture."""
    values = read_object(folder / CONFIG, {})
    name = file_name(str(values.get("model_type")))
    if name not in architectures(names.__name__):
        return {}
    own = importlib.import_module(f"{names.__name__}.{name}").NAME
    return text_values(values) if own == kind else {}


def _check_metadata(header: Header, ours: Mapping[str, Any], model_type: str) -> None:
    """Refuse a file that states something else of its architecture than we would state, or more than is known here."""
    kind, heads = header.architecture, ours.get("attention.head_count")
    size = ours["embedding_length"] // heads if heads else 0
    usual = {"attention.head_count_kv": heads, "attention.key_length": size, "attention.value_length": size}
    known = {**usual, "rope.dimension_count": size, **ours, "attention.causal": ours["attention.causal"]}
    if header.causal != known["attention.causal"]:
        raise _differs(header, "attention.causal", header.causal, known["attention.causal"], model_type)
    for full, value in header.metadata.items():
        key = full.removeprefix(f"{kind}.")
        if key == full or key in (*IDLE, *ELSEWHERE) or (key not in known and value in NOTHING):
            continue
        if key.startswith(UNSCALED) and key not in known and known.get("rope.scaling.type") == "none":
            continue
        if key not in known:
            raise UnsupportedModelError(
                f"{header.path}: {full}={shown(value)} may change the vectors, and is not implemented in {model_type}: "
                "convert from the original checkpoint"
            )
        if not _same(value, known[key]):
            raise _differs(header, key, value, known[key], model_type)


def _same(stated: object, ours: object) -> bool:
    """Whether two values are the same as a file holds them, which has numbers in float32."""
    if isinstance(stated, bool) or isinstance(ours, bool) or isinstance(stated, str) or isinstance(ours, str):
        return stated == ours
    return isinstance(stated, int | float) and isinstance(ours, int | float) and np.float32(stated) == np.float32(ours)


def _differs(header: Header, key: str, value: object, ours: object, model_type: str) -> UnsupportedModelError:
    return UnsupportedModelError(
        f"{header.path}: {header.architecture}.{key}={shown(value)} is not implemented in {model_type}, which has "
        f"{shown(ours)}: convert from the original checkpoint"
    )
