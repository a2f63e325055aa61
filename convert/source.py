"""A checkpoint folder -> `Source`: config, spec, and tensors read one by one from safetensors. No PyTorch.

Knows nothing of adapters.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open

from edge_embed.errors import CorruptModelError, ModelNotFoundError, UnsupportedModelError, listing
from edge_embed.repo import Repo
from edge_embed.spec import ModelSpec

Array = NDArray[np.float32]
FLOATS = ("F64", "F32", "F16", "BF16")
# model_type of a model's own code -> the architecture that it is, told by how some tensor's name ends
OWN_CODE = {"jina_embeddings_v5": {"self_attn.q_norm.weight": "qwen3", "": "eurobert"}}


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
    """A checkpoint that can be converted; `files` hold its weights, adapter included."""

    folder: Path
    spec: ModelSpec
    config: dict[str, Any]
    tensors: Mapping[str, Array]
    files: tuple[Path, ...]

    def identity(self) -> str:
        """Return the SHA-256, in hex, of the files' bytes: the same weights under another name are the same."""
        digest = hashlib.sha256()
        for path in self.files:
            feed(digest, path)
        return digest.hexdigest()


def feed(digest: Any, path: Path) -> None:
    """Update a hash with a file's bytes, a megabyte at a time."""
    with path.open("rb") as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)


def open_source(repo: Repo) -> Source:
    """Read a model's folder in sentence-transformers' layout or in ours; weights stay on disk.

    Raises ModelNotFoundError without safetensors, CorruptModelError for a damaged or incomplete file.
    """
    folder = repo.folder
    if repo.checkpoint is None:
        raise ModelNotFoundError(f"{folder} has no model.safetensors to convert from")
    config = json.loads((folder / "config.json").read_text("utf-8"))
    if "quantization_config" in config:
        raise UnsupportedModelError(f"{folder} is quantised already: convert from the original checkpoint")
    paths = [repo.checkpoint]
    if repo.checkpoint.suffix == ".json":
        shards = json.loads(repo.checkpoint.read_text("utf-8"))["weight_map"].values()
        paths = [folder / shard for shard in sorted(set(shards))]
    tensors = Tensors(paths)
    config["model_type"] = _architecture(config["model_type"], tensors)
    spec = replace(repo.spec, architecture=config["model_type"])
    return Source(folder, spec, config, tensors, tuple(paths))


def _architecture(model_type: str, names: Iterable[str]) -> str:
    """Return the architecture that stands behind a model_type of a model's own code, or the model_type itself."""
    known = OWN_CODE.get(model_type, {"": model_type})
    return next((name for end, name in known.items() if any(tensor.endswith(end) for tensor in names)), model_type)


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


def check_config(config: Mapping[str, Any], allowed: Mapping[str, tuple[Any, ...]], needed: Sequence[str]) -> None:
    """Refuse a config without the `needed` keys, or with a value of an `allowed` key that is not implemented."""
    if missing := [key for key in needed if key not in config]:
        raise CorruptModelError(f"config.json lacks {listing(missing)}")
    for key, values in allowed.items():
        if key in config and config[key] not in values:
            raise UnsupportedModelError(
                f"config.json: {key}={config[key]!r} is not implemented; {' or '.join(map(repr, values))} is"
            )
