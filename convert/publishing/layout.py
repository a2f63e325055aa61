"""A source and its spec -> the small files of a folder that sentence-transformers and other tools load."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from edge_embed.architectures import pools, text_values
from edge_embed.formats.json_file import read_object
from edge_embed.pipeline.closing_token import with_closing_token
from edge_embed.spec.model import TEXT, ModelSpec

from ..checkpoint.source import Source

COPIED = (
    "added_tokens.json",
    "merges.txt",
    "preprocessor_config.json",
    "processor_config.json",
    "special_tokens_map.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "vocab.json",
    "vocab.txt",
    "LICENSE*",
)
# What names a model's own code, where it was on a disk, or heads that an embedding has no use for.
DROPPED = ("_name_or_path", "auto_map", "classifier_pooling", "task_names", "torch_dtype")
CLASSES = {
    "eurobert": "EuroBertModel",
    "gemma3_text": "Gemma3TextModel",
    "mistral": "MistralModel",
    "qwen2": "Qwen2Model",
    "qwen3": "Qwen3Model",
}
# By kind of layer, where there are several: what its base was called before `rope_parameters`.
BASES = {
    "gemma3_text": {"full_attention": "rope_theta", "sliding_attention": "rope_local_base_freq"},
    "modernbert": {"full_attention": "global_rope_theta", "sliding_attention": "local_rope_theta"},
}
MODES = {
    "first": "cls_token",
    "last": "lasttoken",
    "mean": "mean_tokens",
    "max": "max_tokens",
    "weightedmean": "weightedmean_tokens",
    "mean_sqrt_len": "mean_sqrt_len_tokens",
}
# How sentence-transformers, from 5.4 on, is told of a model with a tower for texts and one for images.
TOWERS = {
    "transformer_task": "feature-extraction",
    "modality_config": {
        part: {"method": f"get_{part}_features", "method_output_name": "pooler_output"} for part in ("text", "image")
    },
    "module_output_name": "sentence_embedding",
}
PROMPTS = "config_sentence_transformers.json"


def write_layout(folder: Path, source: Source, spec: ModelSpec, portable: bool = False) -> None:
    """Write config, tokenizer, modules, pooling, length and prompts; no weights but those of Dense modules.

    `portable`: beside ours the folder has a graph in standard operators, which is the one that other readers take.
    """
    for pattern in COPIED:
        for path in source.folder.glob(pattern):
            shutil.copy(path, folder / path.name)
    for name, data in source.made.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(data)
    if "tokenizer.json" not in source.made and (closed := with_closing_token(source.folder / "tokenizer.json")):
        (folder / "tokenizer.json").write_text(closed, "utf-8")
    _drop_rowless(folder / "tokenizer.json", text_values(source.config).get("vocab_size"))
    left = portable and spec.pooling == "last" and _has_rotary_positions(source.config)
    _complete(folder / "tokenizer_config.json", spec.max_tokens, "left" if left else "right")
    _write(folder / "config.json", _config(source))
    pooled = pools(spec.architecture)
    pooling = [] if pooled else [("1_Pooling", "Pooling")]
    kinds = [("", "Transformer"), *pooling, *_copy_dense(folder, source)]
    kinds += [(f"{len(kinds)}_Normalize", "Normalize")] * spec.normalize
    modules = [
        {"idx": n, "name": str(n), "path": path, "type": f"sentence_transformers.models.{kind}"}
        for n, (path, kind) in enumerate(kinds)
    ]
    _write(folder / "modules.json", modules)
    for place, _ in pooling:
        _write_pooling(folder / place, spec)
    sizes = {"max_seq_length": spec.max_tokens, "do_lower_case": False}
    _write(folder / "sentence_bert_config.json", {**sizes, **TOWERS} if pooled else sizes)
    _write(folder / PROMPTS, _prompts(source, spec))


def _write_pooling(folder: Path, spec: ModelSpec) -> None:
    modes = {f"pooling_mode_{mode}": mode == MODES[spec.pooling] for mode in MODES.values()}
    folder.mkdir()
    pooling = {"word_embedding_dimension": spec.width, **modes, "include_prompt": spec.include_prompt}
    _write(folder / "config.json", pooling)


def _copy_dense(folder: Path, source: Source) -> list[tuple[str, str]]:
    """Copy the Dense modules to where the spec has them -> the folder of each, and its kind."""
    places = [Path(module.file.path) for module in source.spec.dense]
    for path in places:
        (folder / path.parent).mkdir(parents=True, exist_ok=True)
        for part in (path, path.with_name("config.json")):
            if part.as_posix() not in source.made:
                shutil.copy(source.folder / part, folder / part)
    return [(path.parent.as_posix(), "Dense") for path in places]


def _complete(path: Path, length: int, side: str) -> None:
    """Say what other readers of the folder must know of its tokenizer, whatever the checkpoint said.

    Our fused graphs expect texts first and padding after them. transformers.js takes a batch's last column for the last
    token, and so needs padding before. fastembed refuses a tokenizer without its model's length.
    """
    if not path.is_file():
        return
    values = read_object(path)
    known = values.get("model_max_length")
    if not isinstance(known, int) or not 0 < known <= length:  # transformers writes 1e30 where it knows none
        values["model_max_length"] = length
    if values.get("padding_side", "right") != side:
        values["padding_side"] = side
    _write(path, values)


def _has_rotary_positions(config: dict[str, Any]) -> bool:
    """Whether a text may begin anywhere in a row, since only distances count."""
    return bool({"rope_theta", "rope_parameters"} & config.keys())


def _drop_rowless(path: Path, rows: object) -> None:
    """Drop added tokens that the table has no row for, as Gemma's for images: a text that spells one could not be read.

    Then it is text, as it is to llama.cpp.
    """
    data = read_object(path, {})
    added = data.get("added_tokens")
    if isinstance(rows, int) and isinstance(added, list) and any(token["id"] >= rows for token in added):
        data["added_tokens"] = [token for token in added if token["id"] < rows]
        path.write_text(json.dumps(data, ensure_ascii=False), "utf-8")


def _config(source: Source) -> dict[str, Any]:
    config = {key: value for key, value in source.config.items() if key not in DROPPED}
    if known := CLASSES.get(config["model_type"]):
        config["architectures"] = [known]
    return {**bases_of_positions(config), **config, "dtype": "float32"}


def bases_of_positions(config: dict[str, Any]) -> dict[str, Any]:
    """Say the bases of rotary positions as transformers 4 did, and all that are written after it, each with a default.

    mlx-embeddings and mlx-swift-lm take 1,000,000 for Qwen3 where `rope_theta` stands in `rope_parameters` alone.
    """
    rope = config.get("rope_parameters")
    if not isinstance(rope, dict):
        return {}
    if "rope_theta" not in rope:  # one for each kind of layer
        names = BASES.get(config["model_type"], {})
        return {names[kind]: one["rope_theta"] for kind, one in rope.items() if kind in names and "rope_theta" in one}
    scaling = {key: value for key, value in rope.items() if key != "rope_theta"}
    scaled = {"rope_scaling": scaling} if rope.get("rope_type", "default") != "default" else {}
    return {"rope_theta": rope["rope_theta"], **scaled}


def _prompts(source: Source, spec: ModelSpec) -> dict[str, Any]:
    """Say the prompts as prefixes; a template with text after `{text}` has no such form and is left out."""
    path = source.folder / PROMPTS
    known = read_object(path, {"similarity_fn_name": "cosine"})
    split = {name: template.partition(TEXT) for name, template in spec.prompts.items()}
    prefixes = {name: prefix for name, (prefix, _, rest) in split.items() if not rest}
    default = spec.default_prompt if spec.default_prompt in prefixes else None
    return {**known, "prompts": prefixes, "default_prompt_name": default}


def _write(path: Path, value: object) -> None:
    path.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", "utf-8")
