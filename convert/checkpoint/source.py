"""A checkpoint folder -> `Source`: config, spec, and tensors read one by one from safetensors. No PyTorch.

Knows nothing of adapters.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open

from edge_embed.architectures import _omni, settled, with_attention
from edge_embed.errors import CorruptModelError, ModelNotFoundError, UnsupportedModelError, listing
from edge_embed.formats.json_file import read_object
from edge_embed.formats.safetensors import weight_map
from edge_embed.hub.digests import SHA256, digest_of, update_hash
from edge_embed.layouts.folder import TOKENIZER, ModelFolder
from edge_embed.layouts.originals import lacks_tokenizer
from edge_embed.pipeline.guarded import GuardedTokenizer
from edge_embed.spec.dense import Dense
from edge_embed.spec.model import ModelSpec
from edge_embed.spec.values import text
from edge_embed.spec.weights import File

from .arrays import Array
from .clip_words import tokenizer_json
from .derived import Named
from .renamed import as_known
from .task_factors import one_task

__all__ = ["Array", "Reader", "Source", "Tensors", "open_source"]

FLOATS = ("F64", "F32", "F16", "BF16")


class Tensors(Mapping[str, Array]):
    """The tensors of one or several safetensors files by name, each read as float32 when asked for."""

    def __init__(self, paths: list[Path]) -> None:
        self._where: dict[str, Any] = {}
        for path in paths:
            try:
                file: Any = safe_open(path, "numpy")
                self._where.update(dict.fromkeys(file.keys(), file))
            except (SafetensorError, OSError) as error:
                raise CorruptModelError(f"{path} is not a whole safetensors file: {error}; fetch it again") from error

    def __getitem__(self, name: str) -> Array:
        if name not in self._where:
            raise KeyError(name)
        kind = self._where[name].get_slice(name).get_dtype()
        if kind not in FLOATS:
            raise UnsupportedModelError(f"tensor {name!r} is {kind}; only {listing(FLOATS)} weights can be converted")
        tensor: Array = self._where[name].get_tensor(name).astype(np.float32)
        if not np.isfinite(tensor).all():
            raise CorruptModelError(f"tensor {name!r} holds NaN or infinity")
        return tensor

    def __contains__(self, name: object) -> bool:
        return name in self._where

    def __iter__(self) -> Iterator[str]:
        return iter(self._where)

    def __len__(self) -> int:
        return len(self._where)

    def shape(self, name: str) -> tuple[int, ...]:
        """Return a tensor's shape without reading its values."""
        return tuple(self._where[name].get_slice(name).get_shape())


@dataclass(frozen=True)
class Source:
    """A checkpoint that can be converted; `files` hold its weights, adapter included.

    `made` are the small files, by name, that the folder lacks and that follow from its other files.
    """

    folder: Path
    spec: ModelSpec
    config: dict[str, Any]
    tensors: Mapping[str, Array]
    files: tuple[Path, ...]
    made: Mapping[str, bytes] = field(default_factory=dict)

    @property
    def tokenizer(self) -> GuardedTokenizer:
        """Its tokenizer; raises CorruptModelError for one that cannot be read."""
        made = self.made.get(TOKENIZER)
        return GuardedTokenizer(self.folder / TOKENIZER, None if made is None else made.decode())

    def identity(self) -> str:
        """Return the SHA-256, in hex, of the files' bytes: the same weights under another name are the same."""
        digest = hashlib.sha256()
        for path in self.files:
            update_hash(digest, path)
        return digest.hexdigest()


def open_source(repo: ModelFolder, task: str | None = None) -> Source:
    """Read a model's folder in sentence-transformers' layout or in ours; weights stay on disk.

    `task` is one whose factors lie within the checkpoint.

    Raises ModelNotFoundError without safetensors, CorruptModelError for a damaged or incomplete file.
    """
    folder = repo.folder
    if any(weights.format == "static" for weights in repo.spec.weights):
        raise UnsupportedModelError(f"{folder} is a table of token vectors, which runs as it is: no format is smaller")
    checkpoint = repo.checkpoint_path
    if checkpoint is None:
        raise ModelNotFoundError(f"{folder} has no model.safetensors to convert from")
    config = read_object(folder / "config.json")
    if "quantization_config" in config:
        raise UnsupportedModelError(f"{folder} is quantised already: convert from the original checkpoint")
    paths = [checkpoint]
    if checkpoint.suffix == ".json":
        paths = [folder / shard for shard in sorted(set(weight_map(checkpoint).values()))]
    tensors = Tensors(paths)
    if any(name.endswith(".scales") for name in tensors):
        raise UnsupportedModelError(f"{folder} holds quantised MLX weights: convert from the original checkpoint")
    kind = text(config, "model_type", folder / "config.json")
    weights = one_task(tensors, config, repo.tasks_within, task)
    if kind in _omni.TYPES:
        weights = Named(weights, _omni.text_tensors(kind, weights))
    config = settled(with_attention(_omni.text_config(config), repo.spec.attention), weights)
    weights = as_known(weights, config["model_type"])
    spec = replace(with_hashes(repo), architecture=config["model_type"])
    made = {TOKENIZER: tokenizer_json(folder)} if lacks_tokenizer(repo.files) else {}
    return Source(folder, spec, config, weights, (*paths, *(folder / name for name in repo.dense)), made)


def with_hashes(repo: ModelFolder) -> ModelSpec:
    """Return a folder's spec with the sizes and hashes of the files of its Dense modules."""
    return replace(repo.spec, dense=tuple(map(partial(_hashed, repo.folder), repo.spec.dense)))


def _hashed(folder: Path, module: Dense) -> Dense:
    """Return a module with the size of its file, and its hash."""
    path = folder / module.file.path
    return replace(module, file=File(path=module.file.path, sha256=digest_of(path, SHA256), size=path.stat().st_size))


class Reader:
    """Hands out a source's tensors, checks their shapes, and knows at the end which were never asked for."""

    def __init__(self, tensors: Mapping[str, Array], prefixes: tuple[str, ...]) -> None:
        self._tensors = tensors
        self.prefix = next((p for p in prefixes if any(name.startswith(p) for name in tensors)), "")
        self._taken: set[str] = set()

    def __call__(self, name: str, *shape: int) -> Array:
        """Return the tensor; raise CorruptModelError when it is missing or of another shape."""
        full = self.prefix + name
        if full not in self._tensors:
            raise CorruptModelError(f"the weights lack the tensor {full!r}, which config.json calls for")
        tensor = self._tensors[full]
        if tensor.shape != shape:
            raise CorruptModelError(f"tensor {full!r} has shape {tensor.shape}, config.json calls for {shape}")
        self._taken.add(full)
        return tensor

    def check_all_taken(self, unused: tuple[str, ...]) -> None:
        """Refuse tensors that the graph has no place for; names or prefixes in `unused` may be left."""
        left = [name for name in self._tensors if name not in self._taken]
        if odd := [name for name in left if not name.removeprefix(self.prefix).startswith(unused)]:
            raise UnsupportedModelError(f"{len(odd)} tensors have no place in this architecture: {listing(odd[:5])}")
