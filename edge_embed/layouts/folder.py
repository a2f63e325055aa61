"""A model's folder, in any layout that is known, -> `Repo`: its spec and where its files lie.

Knows which files hold weights and adapters, and opens none of them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from edge_embed.architectures.config import OWN_CODE, architecture_of
from edge_embed.errors import CorruptModelError, ModelNotFoundError, listing
from edge_embed.formats.gguf import parts_of
from edge_embed.formats.json_file import read_json
from edge_embed.formats.safetensors import safetensors_header
from edge_embed.spec import model as specs
from edge_embed.spec.model import ModelSpec
from edge_embed.spec.weights import LEVELS, File, Weights, image_part, most_exact

from .facts import plain
from .gguf import check_pooling, file_level, find_gguf, gguf_files, gguf_needed, read_gguf_spec
from .mlx import IMAGE as MLX_IMAGE
from .mlx import find_mlx
from .onnx import NAMES as ONNX_NAMES
from .onnx import PARTS as ONNX_PARTS
from .onnx import find_onnx
from .sentence_transformers import read_spec

SAFETENSORS = ("model.safetensors", "model.safetensors.index.json")
SHARD = re.compile(r"model-\d+-of-\d+\.safetensors")
ADAPTER = re.compile(r"adapters/[^/]+/adapter_(config\.json|model\.safetensors)")


@dataclass(frozen=True)
class Repo:
    """A model's folder: spec, folder, and what lies there to convert from.

    `checkpoint` is the original weights' file to open; with `adapters`, a folder for each task, it is their base.
    """

    folder: Path
    spec: ModelSpec
    checkpoint: Path | None = None
    adapters: Mapping[str, Path] = field(default_factory=dict)

    @property
    def tokenizer(self) -> Path:
        """Where `tokenizer.json` lies."""
        return self.folder / "tokenizer.json"

    def levels(self) -> list[str]:
        """Every `format:level` whose weights lie in the folder."""
        return [f"{weights.format}:{weights.level}" for weights in self.spec.weights]


def open_repo(path: Path, name: str | None = None, source: str | None = None, revision: str | None = None) -> Repo:
    """Read a folder in edge_embed's, sentence-transformers', the -GGUF or -mlx repositories' layout, or of one file.

    `name` is what to call the model if its files do not say; the folder's name if None. `source` and `revision` tell
    where the folder came from: `user/repo` and a commit.
    Raises ModelNotFoundError, UnsupportedModelError or CorruptModelError, with what is missing and where.
    """
    if path.is_file():
        return _open_file(path, name, source, revision)
    if (path / specs.FILE_NAME).is_file():
        return _open_own(path)
    gguf = find_gguf(path)
    if gguf and not (path / "modules.json").is_file() and _checkpoint(path) is None:
        return _open_gguf(path, gguf, name, source, revision)
    if not (path / "config.json").is_file():
        raise ModelNotFoundError(f"{path} holds no model: no {specs.FILE_NAME}, no config.json and no .gguf is there")
    checkpoint, adapters = _checkpoint(path), find_adapters(path)
    merged = () if adapters else (*find_onnx(path), *gguf)  # a base's own artefacts would lack the adapters
    weights = (*merged, *find_mlx(path, source or name or ""))
    if checkpoint is None and not weights:
        raise ModelNotFoundError(
            f"{path} has a config.json but no weights: expected {SAFETENSORS[0]}, onnx/model.onnx or a .gguf file"
        )
    if any(one.format != "gguf" for one in weights) or not weights:
        _need_tokenizer(path)
    spec = read_spec(path, name or path.resolve().name, source, list(adapters))
    if checkpoint is not None and spec.architecture in OWN_CODE:
        spec = replace(spec, architecture=architecture_of(spec.architecture, _tensor_names(checkpoint)))
    for one in gguf:
        check_pooling(spec, path / one.files[0].path)
    return Repo(path, replace(spec, weights=weights, source=source, revision=revision), checkpoint, adapters)


def _tensor_names(checkpoint: Path) -> list[str]:
    """List the names of a checkpoint's tensors, by its index or its header."""
    index = checkpoint.suffix == ".json"
    return [*(read_json(checkpoint)["weight_map"] if index else safetensors_header(checkpoint))]


def _open_gguf(
    path: Path, weights: tuple[Weights, ...], name: str | None, source: str | None, revision: str | None
) -> Repo:
    """Open a folder of which GGUF files alone say what the model is."""
    opened = path / weights[0].files[0].path
    spec = read_gguf_spec(opened, name or plain(path.resolve().name), source)
    return Repo(path, replace(spec, weights=weights, source=source or spec.source, revision=revision))


def _checkpoint(path: Path) -> Path | None:
    return next((path / name for name in SAFETENSORS if (path / name).is_file()), None)


def _open_file(path: Path, name: str | None, source: str | None, revision: str | None) -> Repo:
    """Open the folder around one file, with that file's weights alone."""
    kind = {".onnx": "onnx", ".gguf": "gguf", ".safetensors": "mlx"}.get(path.suffix)
    if kind is None:
        raise ModelNotFoundError(
            f"{path} is a {path.suffix or 'nameless'} file: give the model's folder, or an .onnx or .gguf file"
        )
    if kind == "gguf":
        return _open_gguf_file(path, name, source, revision)
    folder = path.parent.parent if path.parent.name == "onnx" else path.parent
    repo = open_repo(folder, name, source, revision)
    known = [weights for weights in repo.spec.weights if folder / weights.files[0].path == path]
    if not known and kind == "mlx":
        raise ModelNotFoundError(f"{path} is not one of the MLX weights of its folder, {listing(repo.levels())}")
    graph = path.relative_to(folder).as_posix()
    weights = known[0] if known else Weights(format="onnx", level="float32", files=(File(path=graph),))
    return Repo(folder, replace(repo.spec, weights=(weights,)))


def _open_gguf_file(path: Path, name: str | None, source: str | None, revision: str | None) -> Repo:
    """Open one GGUF file, of whatever name, by what its folder says, or else by what it says itself."""
    folder, files = path.parent, tuple(File(path=part.name) for part in parts_of(path))
    weights = Weights(format="gguf", level=file_level(path), files=files)
    if any((folder / known).is_file() for known in (specs.FILE_NAME, "modules.json")):
        repo = open_repo(folder, name, source, revision)
        check_pooling(repo.spec, path)
        return Repo(folder, replace(repo.spec, weights=(weights,)))
    return _open_gguf(folder, (weights,), name or path.stem, source, revision)


def _open_own(path: Path) -> Repo:
    spec = ModelSpec.read(path / specs.FILE_NAME)
    _need_tokenizer(path)
    present = []
    for weights in spec.weights:
        found = [(path / file.path) for file in weights.files if (path / file.path).is_file()]
        if not found:
            continue  # a folder may hold fewer levels than were made
        for file in weights.files:
            size = (path / file.path).stat().st_size if (path / file.path).is_file() else None
            if size is None or file.size not in (None, size):
                raise CorruptModelError(
                    f"{path / file.path} has {size} bytes, {specs.FILE_NAME} says {file.size}: copy it again"
                )
        present.append(weights)
    checkpoint = _checkpoint(path)
    if not present and checkpoint is None:
        raise ModelNotFoundError(f"{path}: none of the weight files that {specs.FILE_NAME} names is there")
    return Repo(path, replace(spec, weights=tuple(present)), checkpoint)


def find_adapters(path: Path) -> dict[str, Path]:
    """List the folders of PEFT adapters in a folder, by task."""
    return {config.parent.name: config.parent for config in sorted(path.glob("adapters/*/adapter_config.json"))}


def weight_files(
    level: str | None, folder: Path, names: Sequence[str], pick: Callable[[Sequence[Weights]], Weights] = most_exact
) -> list[str]:
    """List which of a repository's `names` hold the weights of a level (None: as `pick` says), the one to open last.

    `folder` holds the small files already. Empty when the repository has nothing of the kind.
    """
    if specs.FILE_NAME in names:
        spec = ModelSpec.read(folder / specs.FILE_NAME)
        there = [weights for weights in spec.weights if {file.path for file in weights.files} <= set(names)]
        texts = [weights for weights in there if weights.part == "text" and level in (None, weights.level)]
        if not texts:
            return checkpoint_files(names)
        text = pick(texts)
        parts = [text, *filter(None, [image_part(there, text)])]
        return [file.path for weights in reversed(parts) for file in reversed(weights.files)]
    if named := {f"model-{level}.safetensors"} & set(names):
        return [*({MLX_IMAGE} & set(names)), *named]
    if (gguf := gguf_needed(level or _gguf_level(names, pick), names)) and (level or "model.safetensors" not in names):
        return gguf
    levels = [level] if level else [*ONNX_NAMES]
    graphs = [
        [place + prefix + name for known in levels for name in ONNX_NAMES.get(known, ()) for place in ("onnx/", "")]
        for prefix in (ONNX_PARTS["image"], "", ONNX_PARTS["text"])
    ]
    chosen = [graph for few in graphs if (graph := next((name for name in few if name in names), None))]
    if not chosen or any(ADAPTER.fullmatch(name) for name in names):
        return checkpoint_files(names)
    data = [name for graph in chosen for name in names if name.startswith(graph) and name != graph]
    return [*data, *chosen]


def _gguf_level(names: Sequence[str], pick: Callable[[Sequence[Weights]], Weights]) -> str | None:
    """Return the level to take of GGUF files whose names say theirs."""
    known = {level: files for level, files in gguf_files(names).items() if level in LEVELS["gguf"]}
    found = [
        Weights(format="gguf", level=level, files=tuple(File(path=name) for name in files))
        for level, files in known.items()
    ]
    return pick(found).level if found else None


def checkpoint_files(names: Sequence[str]) -> list[str]:
    """List which of a repository's `names` hold the original weights and their adapters, the one to open last."""
    opener = next((name for name in SAFETENSORS if name in names), None)
    if opener is None:
        return []
    shards = [name for name in names if opener == SAFETENSORS[1] and SHARD.fullmatch(name)]
    return [*(name for name in names if ADAPTER.fullmatch(name)), *shards, opener]


def _need_tokenizer(path: Path) -> None:
    if not (path / "tokenizer.json").is_file():
        raise ModelNotFoundError(f"{path} has no tokenizer.json; save the tokenizer with a fast class of transformers")
