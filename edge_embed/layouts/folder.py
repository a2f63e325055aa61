"""A model's folder, in any layout that is known -> `ModelFolder`: its spec and where its files lie.

Works on names, sizes and headers, so that a repository on a hub reads as a folder on this disk does. Opens no weights.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from edge_embed.architectures import PRIVATE, check_window, public_type
from edge_embed.errors import CorruptModelError, ModelNotFoundError, NoWeightsError, UnsupportedModelError, listing
from edge_embed.formats.gguf import part_names, parts_of
from edge_embed.formats.json_file import read_object
from edge_embed.formats.onnx import data_name
from edge_embed.formats.safetensors import tensor_names
from edge_embed.spec.model import FILE_NAME, ModelSpec, with_overrides
from edge_embed.spec.names import as_model_name
from edge_embed.spec.weights import LEVELS, File, Format, Level, Weights, image_part

from .dense import check_dense
from .facts import plain
from .gguf import check_pooling, file_level, find_gguf, find_mmproj, read_gguf_spec
from .listing import Listing
from .mlx import find_mlx
from .onnx import NAMES, data_files, find_onnx, level_of, names_of
from .originals import (
    SAFETENSORS,
    adapters_of,
    base_of,
    checkpoint_files,
    checkpoint_of,
    how_to_merge,
    is_adapter,
    lacks_tokenizer,
    most_exact,
    tasks_of,
)
from .sentence_transformers import inner_folder, read_spec
from .static import StaticFolder, find_static, read_static_spec

TOKENIZER = "tokenizer.json"
GGUF = ".gguf"
SUFFIXES = {".onnx", GGUF, ".safetensors"}  # of a file that may be named in the place of its folder


@dataclass(frozen=True)
class ModelFolder:
    """A model's folder: spec, files, and what it holds to convert from.

    `checkpoint` is the original weights' file to open, or, where there is none, the most exact GGUF file, from which
    other formats can be made; with `adapters`, a folder for each task, it is their base, and with `tasks_within` it
    holds their LoRA factors itself. `adapter` is a folder elsewhere whose adapter is to be merged into it. `words` is
    the tokenizer's file.
    """

    files: Listing
    spec: ModelSpec
    checkpoint: str | None = None
    adapters: Mapping[str, Path] = field(default_factory=dict)
    tasks_within: tuple[str, ...] = ()
    adapter: Path | None = None
    words: str = TOKENIZER

    @property
    def folder(self) -> Path:
        """Where the files lie."""
        return self.files.folder

    @property
    def tokenizer(self) -> Path:
        """Where `tokenizer.json` lies, if there is one."""
        return self.folder / self.words

    @property
    def tasks(self) -> list[str]:
        """The tasks one of which is to be merged into the checkpoint."""
        return [*self.adapters, *self.tasks_within]

    @property
    def checkpoint_path(self) -> Path | None:
        """Where the original weights lie."""
        return self.folder / self.checkpoint if self.checkpoint else None

    def levels(self) -> list[str]:
        """List every `format:level` that the folder holds."""
        return [weights.name for weights in self.spec.weights]

    def files_of(self, weights: Weights) -> list[str]:
        """List the files to have for a text part's weights and its image part's, the one to open last."""
        parts = [weights, *filter(None, [image_part(self.spec.weights, weights)])]
        wanted = [file.path for part in reversed(parts) for file in reversed(part.files)]
        mmproj = filter(None, [self.mmproj_of(weights)])
        return list(dict.fromkeys([*self.dense, *mmproj, *self.data_of(wanted), *wanted]))

    def data_of(self, names: Iterable[str]) -> list[str]:
        """List the files beside graphs that hold their weights; of a graph that is not here, those called like it."""
        return [data for name in names if name.endswith(".onnx") for data in data_files(name, self.files)]

    @property
    def dense(self) -> list[str]:
        """The files of the modules that follow pooling."""
        return [module.file.path for module in self.spec.dense]

    def mmproj_of(self, weights: Weights) -> str | None:
        """Return llama.cpp's file of the image tower that goes with a text part's weights, if there is one."""
        return find_mmproj(self.files.top) if weights.format == "gguf" else None

    def check_gguf(self, weights: Iterable[Weights]) -> None:
        """Refuse GGUF files in the folder that contradict the files beside them; raise CorruptModelError."""
        for path in (part.files[0].path for part in weights if part.format == "gguf"):
            if self.files.has(path):
                check_pooling(self.spec, self.folder / path)

    def offers(self, level: Level | None) -> bool:
        """Whether there are weights of a level (None: of any), or a checkpoint that can be converted to it."""
        texts = (weights for weights in self.spec.weights if weights.part == "text")
        made = (name for name in LEVELS if self.converts_to(name))
        here = any(level in (None, weights.level) for weights in texts)
        return here or self.original or any(level in LEVELS[name] for name in made)

    @property
    def original(self) -> bool:
        """Whether the checkpoint is the original weights, not a GGUF file's."""
        return self.checkpoint is not None and not self.checkpoint.lower().endswith(GGUF)

    def converts_to(self, format: Format) -> bool:
        """Whether there is a checkpoint that may be converted to a format; no GGUF file is to another level of GGUF."""
        return self.checkpoint is not None and (self.original or format != "gguf")

    @property
    def checkpoint_files(self) -> list[str]:
        """The files to have for a conversion, the one to open last: the checkpoint's, and those of modules."""
        if self.checkpoint is None or self.original:
            return [*self.dense, *checkpoint_files(self.files.sizes)]
        return [*self.dense, *reversed(part_names(self.checkpoint))]

    def with_weights(self, weights: Iterable[Weights]) -> ModelFolder:
        """Return the folder with other weights in its spec, and its checkpoint."""
        return replace(self, spec=replace(self.spec, weights=tuple(weights)))


def read_folder(
    place: Path | Listing,
    name: str | None = None,
    source: str | None = None,
    revision: str | None = None,
    overrides: Mapping[str, Any] | None = None,
) -> ModelFolder:
    """Read a folder in edge_embed's, sentence-transformers', the -GGUF or -mlx repositories' layout, or of one file.

    `name` is what to call the model if its files do not say; the folder's name if None. `source` and `revision` tell
    where the folder came from: `user/repo` and a commit. `overrides` are keys of edge_embed.json that win over what the
    folder says, and may say what it leaves open. Raises ModelError, with what is missing and where.
    """
    if isinstance(place, Path) and place.is_file():
        return _read_file(place, _Origin(name, source, revision, overrides or {}))
    files = place if isinstance(place, Listing) else Listing.of(place)
    return _read_files(files, _Origin(name, source, revision, overrides or {}))


@dataclass(frozen=True)
class _Origin:
    """What is known of a folder beside its files: see `read_folder`."""

    name: str | None
    source: str | None
    revision: str | None
    overrides: Mapping[str, Any]


def _read_files(files: Listing, origin: _Origin) -> ModelFolder:
    if at := inner_folder(files):
        files, origin = files.below(at), replace(origin, name=origin.name or as_model_name(files.folder.resolve().name))
    if FILE_NAME in files:
        return _read_own(files, origin)
    if static := find_static(files):
        return _read_static(files, static, origin)
    gguf, checkpoint = find_gguf(files), checkpoint_of(files)
    if gguf and "modules.json" not in files and checkpoint is None:
        return _read_gguf(files, gguf, origin)
    if is_adapter(files):
        raise UnsupportedModelError(
            f"{files.folder} holds an adapter and not its base, {base_of(files.folder)[0]!r:.200}: "
            f"{how_to_merge(files.folder)}"
        )
    if "config.json" not in files:
        raise NoWeightsError(f"{files.folder} holds no model: no {FILE_NAME}, no config.json and no .gguf is there")
    adapters, within = adapters_of(files), tasks_of(files)
    weights = find_weights(files, origin.source or origin.name or "")
    if checkpoint is None and not weights:
        raise NoWeightsError(
            f"{files.folder} has a config.json but no weights: expected {SAFETENSORS[0]}, onnx/model.onnx or a .gguf "
            "file"
        )
    if not lacks_tokenizer(files) and (any(part.format != "gguf" for part in weights) or not weights):
        _need_tokenizer(files)
    name = origin.name or as_model_name(files.folder.resolve().name)
    spec = read_spec(files.folder, name, origin.source, [*adapters, *within], origin.overrides)
    if checkpoint is not None and spec.architecture in PRIVATE:
        spec = replace(spec, architecture=public_type(spec.architecture, tensor_names(files.header(checkpoint))))
    spec = replace(spec, weights=weights, source=origin.source, revision=origin.revision)
    check_dense(spec.dense, files)
    model = ModelFolder(files, spec, checkpoint or most_exact(weights), adapters, within)
    if "pooling" not in origin.overrides:
        model.check_gguf(weights)
    return model


def find_weights(files: Listing, name: str) -> tuple[Weights, ...]:
    """List the weights of a folder that has a config.json; a base's own ONNX and GGUF files would lack its adapters."""
    merged = () if adapters_of(files) or tasks_of(files) else (*find_onnx(files), *find_gguf(files))
    return (*merged, *find_mlx(files, name))


def _read_static(files: Listing, static: StaticFolder, origin: _Origin) -> ModelFolder:
    _need_tokenizer(files, static.tokenizer)
    name = origin.name or as_model_name(files.folder.resolve().name)
    spec = read_static_spec(static, files, name, (origin.source, origin.revision), origin.overrides)
    check_dense(spec.dense, files)
    return ModelFolder(files, spec, words=static.tokenizer)


def _read_gguf(files: Listing, weights: tuple[Weights, ...], origin: _Origin) -> ModelFolder:
    """Read a folder of which GGUF files alone say what the model is; of several, one that need not be fetched."""
    paths = [part.files[0].path for part in weights]
    model = next(filter(files.has, paths), paths[0])
    name = origin.name or as_model_name(plain(files.folder.resolve().name))
    spec = read_gguf_spec(files, model, name, origin.source, origin.overrides)
    spec = replace(spec, weights=weights, source=origin.source or spec.source, revision=origin.revision)
    check_dense(spec.dense, files)
    return ModelFolder(files, spec, most_exact(weights))


def _read_file(path: Path, origin: _Origin) -> ModelFolder:
    """Read the folder around one file, with that file's weights alone."""
    if path.suffix not in SUFFIXES:
        raise ModelNotFoundError(
            f"{path} is a {path.suffix or 'nameless'} file: give the model's folder, or an .onnx or .gguf file"
        )
    if path.suffix == ".gguf":
        return _read_gguf_file(path, origin)
    folder = path.parent.parent if path.parent.name == "onnx" else path.parent
    model = _read_files(Listing.of(folder), origin)
    known = [weights for weights in model.spec.weights if folder / weights.files[0].path == path]
    if not known and path.suffix == ".safetensors":
        raise ModelNotFoundError(f"{path} is not one of the MLX weights of its folder, {listing(model.levels())}")
    graph = File(path=path.relative_to(folder).as_posix())
    weights = known[0] if known else Weights(format="onnx", level=_level(path), files=(graph,))
    return model.with_weights((weights,))


def _level(graph: Path) -> Level:
    """Return the level of a graph by its name, or where that says none, by its weights."""
    for level in NAMES:
        if data_name(graph.name) in names_of(level, frozenset()):
            return level
    return level_of(graph)


def _read_gguf_file(path: Path, origin: _Origin) -> ModelFolder:
    """Read one GGUF file, of whatever name, by what its folder says, or else by what it says itself."""
    folder, parts = path.parent, tuple(File(path=part.name) for part in parts_of(path))
    weights = Weights(format="gguf", level=file_level(path), files=parts)
    if any((folder / known).is_file() for known in (FILE_NAME, "modules.json")):
        model = _read_files(Listing.of(folder), origin).with_weights((weights,))
        return replace(model, checkpoint=parts[0].path)
    return _read_gguf(Listing.of(folder), (weights,), replace(origin, name=origin.name or as_model_name(path.stem)))


def _read_own(files: Listing, origin: _Origin) -> ModelFolder:
    if "max_tokens" in origin.overrides and "config.json" in files:
        check_window(read_object(files.folder / "config.json"), origin.overrides)
    spec = with_overrides(ModelSpec.read(files.folder / FILE_NAME), origin.overrides)
    _need_tokenizer(files)
    check_dense(spec.dense, files)
    existing = []
    for weights in spec.weights:
        if not any(file.path in files for file in weights.files):
            continue  # a folder may hold fewer levels than were made
        for file in weights.files:
            size = files.sizes.get(file.path, -1)
            if file.path not in files or (None not in (size, file.size) and size != file.size):
                raise CorruptModelError(
                    f"{files.folder / file.path} has {size if file.path in files else 'no'} bytes, {FILE_NAME} says "
                    f"{file.size}: copy it again"
                )
        existing.append(weights)
    checkpoint = checkpoint_of(files)
    if not existing and checkpoint is None:
        raise NoWeightsError(f"{files.folder}: none of the weight files that {FILE_NAME} names is there")
    return ModelFolder(files, replace(spec, weights=tuple(existing)), checkpoint or most_exact(existing))


def _need_tokenizer(files: Listing, name: str = TOKENIZER) -> None:
    if name not in files:
        raise ModelNotFoundError(f"{files.folder} has no {name}; save the tokenizer with a fast class of transformers")
