"""A model's folder, in any layout that is known, -> `Repo`: its spec and where its files lie.

Every foreign format ends here. Reads small JSON files and file names; opens no weights.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from . import spec as specs
from .errors import CorruptModelError, ModelNotFoundError, UnsupportedModelError, listing
from .spec import File, ModelSpec, Pooling, Weights

SAFETENSORS = ("model.safetensors", "model.safetensors.index.json")
# What transformers.js, optimum and sentence-transformers call their graphs; the first that exists is the level's.
ONNX_NAMES = {
    "float32": ("model.onnx", "model_O3.onnx", "model_O2.onnx", "model_O1.onnx"),
    "float16": ("model_fp16.onnx", "model_float16.onnx", "model_O4.onnx"),
    "int8": ("model_int8.onnx", "model_quantized.onnx", "model_qint8_avx512_vnni.onnx", "model_quint8_avx2.onnx"),
    "int4": ("model_int4.onnx", "model_q4.onnx"),
}
POOLING_NAMES: dict[str, Pooling] = {
    "lasttoken": "last",
    "cls": "first",
    "cls_token": "first",
    "mean": "mean",
    "mean_tokens": "mean",
}


@dataclass(frozen=True)
class Repo:
    """A model's folder: spec, folder, and the original checkpoint's weight file when one lies there to convert from."""

    folder: Path
    spec: ModelSpec
    checkpoint: Path | None = None

    @property
    def tokenizer(self) -> Path:
        """Where `tokenizer.json` lies."""
        return self.folder / "tokenizer.json"

    def levels(self) -> list[str]:
        """Every `format:level` whose weights lie in the folder."""
        return [f"{weights.format}:{weights.level}" for weights in self.spec.weights]


def open_repo(path: Path, name: str | None = None) -> Repo:
    """Read a folder in edge_embed's or sentence-transformers' layout, or the folder around one .onnx file.

    `name` is what to call the model if its files do not say; the folder's name if None.
    Raises ModelNotFoundError, UnsupportedModelError or CorruptModelError, with what is missing and where.
    """
    if path.is_file():
        return _open_file(path, name)
    if (path / specs.FILE_NAME).is_file():
        return _open_own(path)
    if not (path / "config.json").is_file():
        raise ModelNotFoundError(f"{path} holds no model: neither {specs.FILE_NAME} nor config.json is there")
    _need_tokenizer(path)
    checkpoint = next((path / name for name in SAFETENSORS if (path / name).is_file()), None)
    weights = find_onnx(path)
    if checkpoint is None and not weights:
        raise ModelNotFoundError(
            f"{path} has a config.json but no weights: expected {SAFETENSORS[0]} or onnx/model.onnx"
        )
    return Repo(path, _read_sentence_transformers(path, name or path.resolve().name, weights), checkpoint)


def _open_file(path: Path, name: str | None) -> Repo:
    if path.suffix != ".onnx":
        raise ModelNotFoundError(
            f"{path} is a {path.suffix or 'nameless'} file: give the model's folder, or an .onnx file"
        )
    folder = path.parent.parent if path.parent.name == "onnx" else path.parent
    repo = open_repo(folder, name)
    graph = path.relative_to(folder).as_posix()
    known = [weights for weights in repo.spec.weights if weights.files[0].path == graph]
    weights = known[0] if known else Weights(format="onnx", level="float32", files=(File(path=graph),))
    return Repo(folder, replace(repo.spec, weights=(weights,)))


def _open_own(path: Path) -> Repo:
    spec = ModelSpec.from_json(_read(path / specs.FILE_NAME), path / specs.FILE_NAME)
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
    if not present:
        raise ModelNotFoundError(f"{path}: none of the weight files that {specs.FILE_NAME} names is there")
    return Repo(path, replace(spec, weights=tuple(present)))


def find_onnx(path: Path) -> tuple[Weights, ...]:
    """List the ONNX graphs in a folder or its `onnx/`, one a level, by their usual names."""
    found = []
    for level, names in ONNX_NAMES.items():
        graphs = (path / place / name for name in names for place in ("onnx", "."))
        graph = next((graph for graph in graphs if graph.is_file()), None)
        if graph is not None:
            found.append(Weights(format="onnx", level=level, files=(File(path=graph.relative_to(path).as_posix()),)))
    return tuple(found)


def weight_files(level: str | None, folder: Path, names: Sequence[str]) -> list[str]:
    """List which of a repository's `names` hold the weights of a level (None: the most exact), the one to open last.

    `folder` holds the small files already. Empty when the repository has nothing of the kind.
    """
    if specs.FILE_NAME in names:
        spec = ModelSpec.from_json(_read(folder / specs.FILE_NAME), folder / specs.FILE_NAME)
        fits = [weights for weights in spec.weights if level in (None, weights.level)]
        return [file.path for file in reversed(fits[0].files)] if fits else []
    graphs = (
        f"{place}{name}"
        for lv in ([level] if level else ONNX_NAMES)
        for name in ONNX_NAMES[lv]
        for place in ("onnx/", "")
    )
    openers = [name for name in (*graphs, *SAFETENSORS) if name in names]
    if not openers:
        return []
    if openers[0] == SAFETENSORS[1]:
        return [*(name for name in names if re.fullmatch(r"model-\d+-of-\d+\.safetensors", name)), openers[0]]
    return [*(name for name in names if name.startswith(openers[0]) and name != openers[0]), openers[0]]


def _read_sentence_transformers(path: Path, name: str, weights: tuple[Weights, ...]) -> ModelSpec:
    config = _json(path / "config.json")
    modules = _modules(path)
    sizes = _json(path / "sentence_bert_config.json", default={})
    named = _json(path / "config_sentence_transformers.json", default={})
    tokenizer = _json(path / "tokenizer_config.json", default={})
    if sizes.get("do_lower_case"):
        raise UnsupportedModelError(f"{path}/sentence_bert_config.json: do_lower_case=true is not implemented")
    prompts = {name: text + specs.TEXT for name, text in (named.get("prompts") or {}).items()}
    limits = (sizes.get("max_seq_length"), config.get("max_position_embeddings"), tokenizer.get("model_max_length"))
    try:
        return ModelSpec(
            name=name,
            architecture=config["model_type"],
            dim=config["hidden_size"],
            max_tokens=int(min(limit for limit in limits if limit)),
            pooling=_pooling(path / modules["Pooling"] / "config.json"),
            normalize="Normalize" in modules,
            padding_side=tokenizer.get("padding_side", "right"),
            prompts=prompts,
            default_prompt=named.get("default_prompt_name"),
            weights=weights,
            license=_license(path),
        )
    except (KeyError, ValueError, TypeError) as error:
        raise CorruptModelError(f"{path}/config.json lacks a value that is needed: {error}") from error


def _modules(path: Path) -> dict[str, str]:
    """Map the kind of each sentence-transformers module to its folder; refuse kinds that would change the vector."""
    if not (path / "modules.json").is_file():
        raise UnsupportedModelError(
            f"{path} does not say how to pool: neither {specs.FILE_NAME} nor modules.json is there. "
            "Save it with sentence-transformers, or add modules.json and 1_Pooling/config.json"
        )
    modules = {str(module["type"]).rsplit(".", 1)[-1]: str(module["path"]) for module in _json(path / "modules.json")}
    if unknown := modules.keys() - {"Transformer", "Pooling", "Normalize"}:
        raise UnsupportedModelError(f"{path}/modules.json: modules {listing(unknown)} are not implemented")
    if "Pooling" not in modules:
        raise UnsupportedModelError(f"{path}/modules.json names no Pooling module, so one text has no single vector")
    return modules


def _pooling(path: Path) -> Pooling:
    """Read one pooling mode from 1_Pooling/config.json, as flags (before sentence-transformers 6) or as a name."""
    config = _json(path)
    prefix = "pooling_mode_"
    modes = [key.removeprefix(prefix) for key, value in config.items() if key.startswith(prefix) and value is True]
    modes += [config["pooling_mode"]] if isinstance(config.get("pooling_mode"), str) else []
    if len(modes) != 1 or modes[0] not in POOLING_NAMES:
        raise UnsupportedModelError(
            f"{path}: pooling {listing(modes)} is not implemented; {listing(set(POOLING_NAMES))} are"
        )
    if config.get("include_prompt") is False:
        raise UnsupportedModelError(f"{path}: include_prompt=false (pooling without the prompt) is not implemented")
    return POOLING_NAMES[modes[0]]


def _license(path: Path) -> str | None:
    """Find `license:` in the YAML head of the model card."""
    card = path / "README.md"
    if not card.is_file():
        return None
    found = re.match(r"---\n.*?^license:\s*(\S+)\s*$.*?^---", card.read_text("utf-8", "replace"), re.M | re.S)
    return found.group(1) if found else None


def _need_tokenizer(path: Path) -> None:
    if not (path / "tokenizer.json").is_file():
        raise ModelNotFoundError(f"{path} has no tokenizer.json; save the tokenizer with a fast class of transformers")


def _read(path: Path) -> str:
    try:
        return path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise CorruptModelError(f"{path} cannot be read: {error}") from error


def _json(path: Path, default: Any = None) -> Any:
    if default is not None and not path.is_file():
        return default
    try:
        return json.loads(_read(path))
    except ValueError as error:
        raise CorruptModelError(f"{path} is not JSON: {error}") from error
