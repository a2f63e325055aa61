"""A checkpoint's folder in sentence-transformers' layout, with PEFT adapters or without -> `ModelSpec`.

Reads small JSON files; runs no code that comes with a model. What they leave open is looked up in `facts.json`.
"""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from edge_embed.architectures import _omni, check_window, dim, model_type_of, own_values, text_values
from edge_embed.errors import CorruptModelError, InputError, UnsupportedModelError, listing
from edge_embed.formats.card import card_head
from edge_embed.formats.json_file import read_json, read_object
from edge_embed.spec.dense import Dense
from edge_embed.spec.model import FILE_NAME, FORMAT, TEXT, ModelSpec, Pooling, with_overrides
from edge_embed.spec.names import relative_path
from edge_embed.spec.values import shown, texts, whole

from .dense import read_dense, tell_of_none
from .facts import facts_of, facts_of_folder
from .listing import Listing
from .other_kinds import check_embeds
from .preprocessor import read_preprocessor

LICENSE = re.compile(r"license:\s*(\S+)\s*")
KINDS = ("Transformer", "Pooling", "Dense", "Normalize")  # in the order in which a model may have them
CLIP = "CLIPModel"  # what a Transformer module of CLIP was called before sentence-transformers 5.4
POOLING_NAMES: dict[str, Pooling] = {
    "lasttoken": "last",
    "cls": "first",
    "cls_token": "first",
    "mean": "mean",
    "mean_tokens": "mean",
    "max": "max",
    "max_tokens": "max",
    "weightedmean": "weightedmean",
    "weightedmean_tokens": "weightedmean",
    "mean_sqrt_len_tokens": "mean_sqrt_len",
}


def read_spec(
    path: Path, name: str, repository: str | None, adapters: Sequence[str], overrides: Mapping[str, Any]
) -> ModelSpec:
    """Read what the folder's files say and what is known of the repository, or of a folder so called.

    `adapters` become tasks; `overrides` win over all.
    Raises CorruptModelError for a value that is missing or cannot be, UnsupportedModelError for what would change the
    vector and is not implemented.
    """
    config = read_object(path / "config.json")
    width = dim(config)
    needed = {"model_type": config.get("model_type"), "hidden_size": width}
    if missing := [key for key, value in needed.items() if not value]:
        raise CorruptModelError(f"{path}/config.json lacks a value that is needed: {listing(missing)}")
    facts = facts_of(repository) if repository else facts_of_folder(path, config["model_type"], width)
    tokenizer = read_object(path / "tokenizer_config.json", {})
    own = own_values(config, tokenizer)
    if odd := [key for key, value in own.items() if overrides.get(key, value) != value]:
        raise InputError(
            f"spec: {odd[0]}={overrides[odd[0]]!r} contradicts {config['model_type']}, which has {own[odd[0]]!r}: "
            "leave it out"
        )
    described = "pooling" in {**facts, **own, **overrides}
    _check_kind(path, config, described)
    if config.get("use_bidirectional_attention") and not (path / "modules.json").is_file():
        tell_of_none(path)
    values: dict[str, Any] = {
        "name": name,
        "architecture": model_type_of(config),
        "dim": width,
        **facts,
        **_modules(path, width, described),
        **own,
        **prompts_of(path, facts.get("prompts", {})),
        "max_tokens": _max_tokens(path, config, facts),
        "padding_side": tokenizer.get("padding_side", "right"),
    }
    dims = config.get("matryoshka_dims") or config.get("matryoshka_dimensions") or facts.get("matryoshka_dims", [])
    if not isinstance(dims, list) or not all(isinstance(size, int) for size in dims):
        raise CorruptModelError(f"{path}/config.json: matryoshka_dims={shown(dims)} is not a list of whole numbers")
    values["matryoshka_dims"] = [size for size in dims if size <= values["dim"]]  # a namesake may be smaller
    if license := license_of(path):
        values["license"] = license
    if config["model_type"] not in _omni.TYPES and (image := read_preprocessor(path)):
        values["image"] = dataclasses.asdict(image)
    if adapters:
        values |= _tasks(adapters, values.get("prompts", {}), values.get("default_prompt"))
    stated = {key: overrides[key] for key in ("pooling", "normalize") if key in overrides}
    check_window(config, overrides)
    spec = ModelSpec.from_json(json.dumps({"format": FORMAT, "normalize": True, **values, **stated}), path)
    return with_overrides(spec, overrides)


def adapter_values(folder: Path) -> dict[str, Any]:
    """Return what sentence-transformers saved beside an adapter: keys of edge_embed.json, which win over the base's.

    Raises as `read_spec` does.
    """
    if not (folder / "modules.json").is_file():
        return {}
    prompts = prompts_of(folder, {})
    length = read_object(folder / "sentence_bert_config.json", {}).get("max_seq_length")
    return {
        **_adapter_modules(folder),
        **({"default_prompt": None, **prompts} if any(text != TEXT for text in prompts["prompts"].values()) else {}),
        **({"max_tokens": length} if length else {}),
    }


def _check_kind(path: Path, config: Mapping[str, Any], described: bool) -> None:
    """Refuse a model that does not embed: see `check_embeds`; `described` says how to pool what has no modules.json."""
    where = path / "modules.json"
    stated = [kind for kind, _ in module_list(where)] if where.is_file() else None
    check_embeds(path, config, [] if stated is None and described else stated)


def _adapter_modules(folder: Path) -> dict[str, Any]:
    """Read how to pool; refuse Dense modules, which belong to a model of which an adapter does not say the width."""
    found = _modules(folder, 0, described=False)
    if "dense" in found:
        raise UnsupportedModelError(f"{folder}/modules.json: Dense modules of an adapter are not implemented")
    return found


def _modules(path: Path, width: int, described: bool) -> dict[str, Any]:
    """Read how to pool, what follows, and whether to normalise; `width` numbers are pooled.

    Nothing when the files leave it open and facts have it (`described`). Refuses modules that would change the vector;
    those of a model's own code only where no facts stand in for it.
    """
    if not (path / "modules.json").is_file():
        if described:
            return {}
        raise UnsupportedModelError(
            f"{path} does not say how to pool: neither {FILE_NAME} nor modules.json is there. "
            'Say it as the model\'s card does, pooling="mean", "first" or "last" (edge-embed: --spec FILE), or save it '
            "with sentence-transformers"
        )
    modules = module_list(path / "modules.json")
    if described:
        modules = [(kind, place) for kind, place in modules if kind.startswith("sentence_transformers.")]
    named = [(kind.rsplit(".", 1)[-1].replace(CLIP, "Transformer"), place) for kind, place in modules]
    named = [(kind, place) for kind, place in named if kind != "Dropout"]  # which does nothing outside training
    if unknown := {kind for kind, _ in named} - {*KINDS}:
        raise UnsupportedModelError(f"{path}/modules.json: modules {listing(unknown)} are not implemented")
    kinds = [kind for kind, _ in named]
    if kinds != sorted(kinds, key=KINDS.index) or any(kinds.count(kind) > 1 for kind in ("Transformer", "Pooling")):
        raise UnsupportedModelError(
            f"{path}/modules.json: modules in the order {', '.join(kinds)} are not implemented; once each, and "
            f"{', '.join(KINDS)}, are"
        )
    pooling = next((place for kind, place in named if kind == "Pooling"), None)
    if pooling is not None:
        found = _pooling(path / pooling / "config.json") | {"normalize": "Normalize" in kinds}
        return found | _dense(read_dense(path, [place for kind, place in named if kind == "Dense"], width))
    if not described:
        raise UnsupportedModelError(f"{path}/modules.json names no Pooling module, so one text has no single vector")
    if "Dense" in kinds:
        raise UnsupportedModelError(f"{path}/modules.json: Dense modules without a Pooling module are not implemented")
    return {}


def inner_folder(files: Listing) -> str | None:
    """Return the sub-folder that holds all of a model but modules.json, as that of a CLIPModel module does, if any.

    Raises UnsupportedModelError where other modules change its vectors.
    """
    if "modules.json" not in files or {"config.json", FILE_NAME} & files.sizes.keys():
        return None
    path = files.folder / "modules.json"
    modules = [(kind.rsplit(".", 1)[-1], place) for kind, place in module_list(path)]
    if not modules or modules[0][0] != CLIP or not modules[0][1]:
        return None
    if others := {kind for kind, _ in modules[1:]} - {"Normalize"}:
        raise UnsupportedModelError(f"{path}: modules {listing(others)} after {CLIP} are not implemented")
    return modules[0][1]


def _dense(modules: Sequence[Dense]) -> dict[str, Any]:
    """Return Dense modules, and the dimension that the last of them gives, as parsed JSON."""
    if not modules:
        return {}
    return {"dense": [dataclasses.asdict(module) for module in modules], "dim": modules[-1].out_features}


def module_list(path: Path) -> list[tuple[str, str]]:
    """Return each module's class and the folder of its files, in their order."""
    modules = read_json(path)
    whole = isinstance(modules, list) and all(
        isinstance(one, dict) and {"type", "path"} <= one.keys() for one in modules
    )
    if not whole:
        raise CorruptModelError(f"{path} is no list of modules, each with a type and a path; fetch it again")
    places = ["" if module["path"] == "." else module["path"] or "" for module in modules]
    for place in filter(None, places):
        relative_path(place, path)
    return [(str(module["type"]), place) for module, place in zip(modules, places, strict=True)]


def _pooling(path: Path) -> dict[str, Any]:
    """Read 1_Pooling/config.json: one mode, as flags (before sentence-transformers 6) or as a name, and the prompt."""
    config = read_object(path)
    prefix = "pooling_mode_"
    modes = [key.removeprefix(prefix) for key, value in config.items() if key.startswith(prefix) and value is True]
    modes += [config["pooling_mode"]] if isinstance(config.get("pooling_mode"), str) else []
    if len(modes) != 1 or modes[0] not in POOLING_NAMES:
        raise UnsupportedModelError(
            f"{path}: pooling {listing(modes)} is not implemented; {listing(set(POOLING_NAMES))} are"
        )
    return {"pooling": POOLING_NAMES[modes[0]], "include_prompt": config.get("include_prompt") is not False}


def prompts_of(path: Path, known: Mapping[str, str]) -> dict[str, Any]:
    """Read prompts, as templates, and which is the default, beside those that are `known` of the model."""
    where = path / "config_sentence_transformers.json"
    named = read_object(where, {})
    prompts = {name: text + TEXT for name, text in texts(named, "prompts", where).items()}
    found: dict[str, Any] = {"prompts": {**known, **prompts}}
    if named.get("default_prompt_name"):
        found["default_prompt"] = named["default_prompt_name"]
    return found


def _max_tokens(path: Path, config: Mapping[str, Any], facts: Mapping[str, Any]) -> int:
    """Return the least length that any file, or the facts, state."""
    sizes = read_object(path / "sentence_bert_config.json", {})
    if sizes.get("do_lower_case"):
        raise UnsupportedModelError(f"{path}/sentence_bert_config.json: do_lower_case=true is not implemented")
    tokenizer = read_object(path / "tokenizer_config.json", {})
    positions = text_values(config).get("max_position_embeddings")
    limits = [sizes.get("max_seq_length"), positions, tokenizer.get("model_max_length")]
    numbers = [limit for limit in (*limits, facts.get("max_tokens")) if limit]
    if not numbers or not all(isinstance(number, int | float) and number == number for number in numbers):
        raise CorruptModelError(
            f"{path}/config.json lacks a value that is needed: 'max_position_embeddings', a whole number"
        )
    return whole({"max_tokens": _as_whole(min(numbers))}, "max_tokens", path)


def _as_whole(number: float) -> object:
    """Return a whole number as int, as some files have it with a point; anything else as it is."""
    return int(number) if isinstance(number, float) and number.is_integer() else number


def _tasks(adapters: Sequence[str], prompts: Mapping[str, str], default: str | None) -> dict[str, Any]:
    """Say which prompt each side of each adapter's task uses: one of the task's name, or of the side's.

    Of the latter, queries have one of their own for retrieval alone.
    """
    if named := {task: {"query": task, "document": task} for task in adapters if task in prompts}:
        return {"tasks": {task: named.get(task, {}) for task in adapters}}
    if not {"query", "document"} <= prompts.keys():
        return {"tasks": {task: {} for task in adapters}}
    sides = {t: {"query": "query" if t == "retrieval" else "document", "document": "document"} for t in adapters}
    return {"tasks": sides, "default_prompt": default or "document"}


def license_of(path: Path) -> str | None:
    """Find `license:` in the YAML head of the model card."""
    found = filter(None, map(LICENSE.fullmatch, card_head(path / "README.md")))
    return next((match[1] for match in found), None)
