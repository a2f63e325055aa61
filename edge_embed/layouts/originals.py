"""What a folder holds to convert from, by names: original weights and adapters, or GGUF files alone."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from edge_embed.architectures import tasks_within
from edge_embed.formats.json_file import read_object
from edge_embed.formats.peft import CONFIG as ADAPTER_CONFIG
from edge_embed.spec.model import FILE_NAME
from edge_embed.spec.weights import Weights, highest_precision

from .listing import Listing

SAFETENSORS = ("model.safetensors", "model.safetensors.index.json")
SHARD = re.compile(r"model-\d+-of-\d+\.safetensors")
VOCABULARY, MERGES = "vocab.json", "merges.txt"  # of CLIP's tokenizer in older folders, of which tokenizer.json is made
ADAPTER = re.compile(r"adapters/(?P<task>[^/]+)/adapter_(config\.json|model\.safetensors)")


def checkpoint_of(files: Listing) -> str | None:
    """Return the original weights' file to open; None where there is none."""
    return next((name for name in SAFETENSORS if name in files), None)


def checkpoint_files(names: Iterable[str]) -> list[str]:
    """List which names hold the original weights and their adapters, the one to open last."""
    known = [*names]
    opener = next((name for name in SAFETENSORS if name in known), None)
    if opener is None:
        return []
    shards = [name for name in known if opener == SAFETENSORS[1] and SHARD.fullmatch(name)]
    words = [name for name in (VOCABULARY, MERGES) if name in known and "tokenizer.json" not in known]
    return [*(name for name in known if ADAPTER.fullmatch(name)), *words, *shards, opener]


def lacks_tokenizer(files: Listing) -> bool:
    """Whether a folder of CLIP has original weights and, in the place of tokenizer.json, what it can be made of."""
    whole = {VOCABULARY, MERGES} <= files.sizes.keys() and "tokenizer.json" not in files and checkpoint_of(files)
    return bool(whole) and read_object(files.folder / "config.json").get("model_type") == "clip"


def adapters_of(files: Listing) -> dict[str, Path]:
    """Return the folders of PEFT adapters, by task."""
    found = (ADAPTER.fullmatch(name) for name in sorted(files.sizes) if name.endswith("adapter_config.json"))
    return {match["task"]: files.folder / "adapters" / match["task"] for match in found if match}


def tasks_of(files: Listing) -> tuple[str, ...]:
    """List the tasks whose LoRA factors lie within the original weights, if those are there."""
    return tasks_within(read_object(files.folder / "config.json")) if checkpoint_of(files) else ()


def is_adapter(files: Listing) -> bool:
    """Whether a folder holds a PEFT adapter, and no model that it could be of."""
    return ADAPTER_CONFIG in files and not {"config.json", FILE_NAME} & files.sizes.keys()


def base_of(folder: Path) -> tuple[str, str | None]:
    """Return what an adapter's folder says that its base is: a path or `user/repo`, and a revision or None."""
    values = read_object(folder / ADAPTER_CONFIG)
    base, revision = (values.get(key) for key in ("base_model_name_or_path", "revision"))
    return base if isinstance(base, str) else "", revision if isinstance(revision, str) and revision else None


def how_to_merge(adapter: Path) -> str:
    """Say how to merge an adapter into a base that lies elsewhere than it says."""
    return f"merge them by edge-embed convert BASE --adapter {adapter} --out FOLDER --to onnx:int8, and open the result"


def most_exact(weights: Iterable[Weights]) -> str | None:
    """Return the most exact of GGUF files that are all there is; None where there is something else, or nothing."""
    texts = [one for one in weights if one.part == "text"]
    if not texts or any(one.format != "gguf" for one in texts):
        return None
    return highest_precision(texts).files[0].path
