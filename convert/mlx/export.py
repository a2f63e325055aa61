"""A checkpoint -> MLX weights under the official names: model.safetensors, model-8bit.safetensors and so on.

Quantised from the merged checkpoint, embedding tables included. What stays: norms, biases and rows whose length is no
multiple of the group size, in bfloat16, as mlx-lm leaves them. An image part is one file, vision_model.safetensors,
beside the text part's of all levels. A folder of one level opens in mlx-embeddings and mlx-swift-lm too, a language
model's in mlx-lm: they take every model*.safetensors of a folder as one model, so several levels cannot.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import mlx.core as mx

from edge_embed.architectures import architecture, parts
from edge_embed.backends.mlx.models import PartModel, build
from edge_embed.errors import InputError, listing
from edge_embed.formats.json_file import read_object
from edge_embed.layouts.mlx import IMAGE, PLAIN
from edge_embed.spec.weights import Weights

from ..checkpoint.arrays import shape_of
from ..checkpoint.derived import Named
from ..checkpoint.safetensors import write_safetensors
from ..checkpoint.source import Source
from ..checkpoint.watched import watched
from ..export import Bound, Export, describe
from .rounding import quantise
from .tokenizer_class import say_tokenizer_class

FULL = ("float32", "bfloat16", "float16")
BITS = {"8bit": 8, "4bit": 4}
SENSITIVE_BITS = {8: 8, 4: 6}  # where an architecture says so: 4 bits there cost more than in all the other layers
GROUPS = (32, 64, 128)
LEVELS = (*FULL, *BITS)
MODEL = "model."  # what stands before a language model's tensors
POOLER = "pooler.dense."
SWIFT = (
    ("transformer.layer.", "encoder.layers."),
    ("encoder.layer.", "encoder.layers."),
    (".self.value", ".value_proj"),
    (".v_lin", ".value_proj"),
    (".attention.output.dense", ".attention.out_proj"),
    (".out_lin", ".out_proj"),
)
EXACT, IMAGE_LEVEL = "float32", "bfloat16"
ALL = ("float32", *BITS)
BOUNDS = {
    "float32": Bound(mean=0.999999, min=0.99999),
    "bfloat16": Bound(mean=0.9995, min=0.999),
    "float16": Bound(mean=0.9999, min=0.999),
    "8bit": Bound(mean=0.9995, min=0.995),
    "4bit": Bound(mean=0.97, min=0.9),
}


def calibrated(source: Source, levels: Sequence[str]) -> bool:
    """Nothing is: on the miniatures, rounding by the channels' moments and smoothing gained nothing at 4 bits."""
    return False


def image_levels(levels: Sequence[str]) -> list[str]:
    """List nothing: the image part beside MLX weights is MLX's own, and write() makes it."""
    return []


def write(export: Export) -> list[Weights]:
    """Write each level's file, and the image part's; of several full-precision levels one, the most exact, is PLAIN."""
    if export.group_size not in GROUPS:
        raise InputError(f"group_size={export.group_size}: MLX has groups of {', '.join(map(str, GROUPS))}")
    name, config = export.source.spec.architecture, export.source.config
    part = build(name, config)
    if _named_as_models(name):
        _change_config(export.folder, tie_word_embeddings=True)  # there is no head, and mlx-lm would look for one
    say_tokenizer_class(export.folder, name)
    full = sorted(set(export.levels) & set(FULL), key=FULL.index)
    weights = []
    for level in export.levels:
        export.report(f"mlx:{level}")
        path = export.folder / (PLAIN if level in full[:1] else f"model-{level}.safetensors")
        with watched(export.source, f"mlx:{level}") as source:
            read = replace(export, source=source)
            if level in FULL:
                _write_full(read, part, level, path)
            else:
                bits = _write_quantised(read, part, BITS[level], path)
        if level not in FULL and list(export.levels) == [level]:
            alias = _swift_name if _is_bert_like(name) else None
            _change_config(export.folder, quantization=_quantization(bits, export.group_size, alias))
        weights.append(Weights(format="mlx", level=level, files=(describe(path, export.folder),)))
    if "image" in parts(name):
        # One level for all: the activations of CLIP towers have outliers that 4 bits magnify, and a tower is small
        # beside what 4 bits are for (E5-V's has 0.3 of 8.4 billion weights). A random tower of jina-clip-v1's size
        # kept a mean cosine of 0.973 at int4 and of 0.9991 at int8 in ONNX.
        level = EXACT if list(export.levels) == [EXACT] else IMAGE_LEVEL
        export.report(f"mlx:{level}, image part")
        _write_full(export, build(name, config, "image"), level, export.folder / IMAGE)
        files = (describe(export.folder / IMAGE, export.folder),)
        weights.append(Weights(format="mlx", level=level, files=files, part="image"))
    return weights


def _write_full(export: Export, part: PartModel, level: str, path: Path) -> None:
    """Store a part's tensors at one precision."""
    write_safetensors(Named(export.source.tensors, _names(export, part)), path, level)


def _names(export: Export, part: PartModel) -> dict[str, str]:
    """Map what a part's tensors are called in the file to their names in the checkpoint."""
    names = [name for name in export.source.tensors if part.reads(name)]
    architecture_name = export.source.spec.architecture
    if _named_as_models(architecture_name):
        return {MODEL + part.plain(name): name for name in names}
    if _is_bert_like(architecture_name):
        poolers = [name for name in export.source.tensors if part.plain(name).startswith(POOLER)]
        return {part.plain(name): name for name in [*names, *poolers]}
    return {name: name for name in names}


def _is_bert_like(model_type: str) -> bool:
    """Whether mlx-embeddings and mlx-swift-lm look for bare names, with a pooler's, which they have and do not use."""
    return hasattr(architecture(model_type), "NAMES")


def _named_as_models(model_type: str) -> bool:
    """Whether mlx-lm and mlx-embeddings look for the architecture's tensors below `model.`."""
    return bool(architecture(model_type).PREFIXES == (MODEL,))


def _change_config(folder: Path, **values: Any) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps(read_object(path, {}) | values, indent=2, ensure_ascii=False) + "\n", "utf-8")


def _quantization(
    bits: Mapping[str, int], group_size: int, alias: Callable[[str], str] | None = None
) -> dict[str, Any]:
    """Say how layers are quantised, as mlx-lm does: most of them, and by name those that have other bits.

    `alias` gives another name, by which some readers look.
    """
    usual = min(bits.values())
    others = {name: {"group_size": group_size, "bits": n} for name, n in bits.items() if n != usual}
    aliases = {alias(name): value for name, value in others.items()} if alias else {}
    return {"group_size": group_size, "bits": usual, **others, **aliases}


def _swift_name(name: str) -> str:
    """Return how mlx-swift-lm (MLXEmbedders, Models/Bert.swift) calls a layer when it looks up its bits."""
    for theirs, swift in SWIFT:
        name = name.replace(theirs, swift)
    return name


def _write_quantised(export: Export, part: PartModel, bits: int, path: Path) -> dict[str, int]:
    """Quantise the rows of every linear layer and table that MLX can -> their bits, and store the rest in bfloat16."""
    tensors, size = Named(export.source.tensors, _names(export, part)), export.group_size
    names = list(tensors)
    able = {f"{name}.weight" for name, module in part.model.named_modules() if hasattr(module, "to_quantized")}
    whole = [name for name in names if part.plain(name) in able]
    chosen = {name for name in whole if shape_of(tensors, name)[-1] % size == 0}
    if not chosen:
        rows = sorted({shape_of(tensors, name)[-1] for name in whole})
        raise InputError(f"group_size={size} divides no row of this model, which has lengths {rows}: choose another")
    if left := [name for name in whole if name not in chosen]:
        export.report(f"rows are no multiple of {size}, and stay bfloat16: {listing(left)}")
    out: dict[str, mx.array] = {}
    used: dict[str, int] = {}
    for name in names:
        if name not in chosen:
            out[name] = mx.array(tensors[name]).astype(mx.bfloat16)
            continue
        at = name.removesuffix(".weight")
        used[at] = SENSITIVE_BITS[bits] if at.endswith(part.sensitive) else bits
        made = quantise(tensors[name], used[at], size)
        out[name] = mx.array(made.packed)
        out[f"{at}.scales"] = mx.array(made.scales).astype(mx.bfloat16)
        out[f"{at}.biases"] = mx.array(made.biases).astype(mx.bfloat16)
    mx.save_safetensors(str(path), out, {"format": "mlx"})
    return used
