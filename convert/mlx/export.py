"""A checkpoint -> MLX weights under the official names: model.safetensors, model-8bit.safetensors and so on.

Quantised from the merged checkpoint, embedding tables included. What stays: norms, biases and rows whose length is no
multiple of the group size, in bfloat16, as mlx-lm leaves them. An image part is one file, vision_model.safetensors,
beside the text part's of all levels.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import mlx.core as mx

from edge_embed.architectures import parts
from edge_embed.backends.mlx.models import PartModel, build
from edge_embed.errors import InputError, listing
from edge_embed.layouts.mlx import IMAGE, PLAIN
from edge_embed.spec.weights import Weights

from ..checkpoint.matching import shape_of
from ..checkpoint.safetensors import write_safetensors
from ..checkpoint.source import Array, Source
from ..export import Bound, Export, describe
from .rounding import quantise

FULL = ("float32", "bfloat16", "float16")
BITS = {"8bit": 8, "4bit": 4}
SENSITIVE_BITS = {8: 8, 4: 6}  # where an architecture says so: 4 bits there cost more than in all the other layers
GROUPS = (32, 64, 128)
LEVELS = (*FULL, *BITS)
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
    architecture, config = export.source.spec.architecture, export.source.config
    part = build(architecture, config)
    full = sorted(set(export.levels) & set(FULL), key=FULL.index)
    weights = []
    for level in export.levels:
        export.report(f"mlx:{level}")
        path = export.folder / (PLAIN if level in full[:1] else f"model-{level}.safetensors")
        if level in FULL:
            _write_full(export, part, level, path)
        else:
            _write_quantised(export, part, BITS[level], path)
        weights.append(Weights(format="mlx", level=level, files=(describe(path, export.folder),)))
    if "image" in parts(architecture):
        # One level for all: the activations of CLIP towers have outliers that 4 bits magnify, and a tower is small
        # beside what 4 bits are for (E5-V's has 0.3 of 8.4 billion weights). A random tower of jina-clip-v1's size
        # kept a mean cosine of 0.973 at int4 and of 0.9991 at int8 in ONNX.
        level = EXACT if list(export.levels) == [EXACT] else IMAGE_LEVEL
        export.report(f"mlx:{level}, image part")
        _write_full(export, build(architecture, config, "image"), level, export.folder / IMAGE)
        files = (describe(export.folder / IMAGE, export.folder),)
        weights.append(Weights(format="mlx", level=level, files=files, part="image"))
    return weights


def _write_full(export: Export, part: PartModel, level: str, path: Path) -> None:
    """Store a part's tensors at one precision."""
    tensors = export.source.tensors
    write_safetensors(_Some(tensors, [name for name in tensors if part.reads(name)]), path, level)


class _Some(Mapping[str, Array]):
    """Some of the tensors, each read when asked for."""

    def __init__(self, tensors: Mapping[str, Array], names: Sequence[str]) -> None:
        self._tensors, self._names = tensors, dict.fromkeys(names)

    def __getitem__(self, name: str) -> Array:
        return self._tensors[name]

    def __iter__(self) -> Any:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)

    def shape(self, name: str) -> tuple[int, ...]:
        """Return a tensor's shape without computing its values."""
        return shape_of(self._tensors, name)


def _write_quantised(export: Export, part: PartModel, bits: int, path: Path) -> None:
    """Quantise the rows of every linear layer and table that MLX can, and store the rest in bfloat16."""
    tensors, size = export.source.tensors, export.group_size
    names = [name for name in tensors if part.reads(name)]
    able = {f"{name}.weight" for name, module in part.model.named_modules() if hasattr(module, "to_quantized")}
    whole = [name for name in names if part.plain(name) in able]
    chosen = {name for name in whole if shape_of(tensors, name)[-1] % size == 0}
    if not chosen:
        rows = sorted({shape_of(tensors, name)[-1] for name in whole})
        raise InputError(f"group_size={size} divides no row of this model, which has lengths {rows}: choose another")
    if left := [name for name in whole if name not in chosen]:
        export.report(f"rows are no multiple of {size}, and stay bfloat16: {listing(left)}")
    out: dict[str, mx.array] = {}
    for name in names:
        if name not in chosen:
            out[name] = mx.array(tensors[name]).astype(mx.bfloat16)
            continue
        at = name.removesuffix(".weight")
        made = quantise(tensors[name], SENSITIVE_BITS[bits] if at.endswith(part.sensitive) else bits, size)
        out[name] = mx.array(made.packed)
        out[f"{at}.scales"] = mx.array(made.scales).astype(mx.bfloat16)
        out[f"{at}.biases"] = mx.array(made.biases).astype(mx.bfloat16)
    mx.save_safetensors(str(path), out, {"format": "mlx"})
