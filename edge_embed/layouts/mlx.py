"""MLX weights of a folder -> `Weights`: jina's names, and folders of mlx-lm's style, whose config.json says how.

What is quantised, and how, is read from config.json and from the tensors, never from a name alone.
"""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

from edge_embed.architectures import _omni, dim, tables
from edge_embed.errors import CorruptModelError, UnsupportedModelError, listing
from edge_embed.formats.json_file import read_object
from edge_embed.formats.safetensors import safetensors_header, weight_map
from edge_embed.spec.values import section
from edge_embed.spec.weights import LEVELS, File, Weights

from .listing import Listing

PLAIN, IMAGE = "model.safetensors", "vision_model.safetensors"
TOWERS = ("vision_model.", "vision_tower.", "model.vision_tower.")  # how an image part's tensors are called
NAMED = re.compile(r"model-(\w+)\.safetensors")  # model-4bit.safetensors; no part of a checkpoint in several files
FLOATS = {"F32": "float32", "BF16": "bfloat16", "F16": "float16"}


def find_mlx(files: Listing, name: str) -> tuple[Weights, ...]:
    """List the MLX weights of a folder, one a level and part; none if nothing says that it was made for MLX.

    A folder was made for MLX if its own or the given name ends in -mlx, if config.json has `quantization`, or if a
    file is named after one of MLX's levels. An image part lies in a file of its own, or in every level's file.
    """
    named = {match[1]: file for file in files.top if (match := NAMED.fullmatch(file))}
    levels = {level: file for level, file in named.items() if level in LEVELS["mlx"]}
    config = read_object(files.folder / "config.json")
    names = (files.folder.resolve().name, name)
    if not (levels or "quantization" in config or any(n.lower().endswith("-mlx") for n in names)):
        return ()
    if PLAIN in files:
        levels = {stored_level(files.header(PLAIN), config): PLAIN} | levels
    texts = [Weights(format="mlx", level=level, files=(File(path=file),)) for level, file in levels.items()]
    if IMAGE in files:
        level = stored_level(files.header(IMAGE), config)
        return (*texts, Weights(format="mlx", level=level, files=(File(path=IMAGE),), part="image"))
    return (*texts, *(part for text in texts for part in embedded_image_part(files, text)))


def checkpoint_as_mlx(files: Listing, checkpoint: str) -> tuple[Weights, ...]:
    """Return a checkpoint's parts as MLX reads them without a conversion; `checkpoint` is its one file or its index."""
    indexed = checkpoint.endswith(".json")
    names = sorted(set(weight_map(files.header(checkpoint)).values())) if indexed else [checkpoint]
    level = stored_level(files.header(names[0]), read_object(files.folder / "config.json"))
    text = Weights(format="mlx", level=level, files=tuple(File(path=name) for name in names))
    return (text, *embedded_image_part(files, text))


def embedded_image_part(files: Listing, text: Weights) -> tuple[Weights, ...]:
    """List the image part that lies in the same files as a text part, if one does and is read."""
    if read_object(files.folder / "config.json", {}).get("model_type") in _omni.TYPES:
        return ()
    headers = (safetensors_header(files.header(file.path)) for file in text.files)
    return (replace(text, part="image"),) if any(n.startswith(TOWERS) for names in headers for n in names) else ()


def stored_level(path: Path, config: dict[str, Any]) -> str:
    """Return the level of a safetensors file: its dtype, or the bits that its quantised tensors have."""
    tensors = safetensors_header(path)
    bits = section(config, "quantization", "config.json").get("bits")
    scaled = [name.removesuffix(".scales") for name in tensors if name.endswith(".scales")]
    if scaled and bits is None:
        bits = _bits(tensors, scaled, config, path)
    if scaled:
        level = f"{bits}bit"
        if level not in LEVELS["mlx"]:
            raise UnsupportedModelError(f"{path} has weights of {bits} bits; {listing(LEVELS['mlx'])} can be read")
        return level
    kinds = {entry["dtype"] for entry in tensors.values() if len(entry["shape"]) > 1}
    if len(kinds) != 1 or not kinds <= FLOATS.keys():
        raise UnsupportedModelError(f"{path} holds {listing(kinds)}; weights of one of {listing(FLOATS)} can be read")
    return FLOATS[kinds.pop()]


def _bits(tensors: dict[str, Any], scaled: list[str], config: dict[str, Any], path: Path) -> int:
    """Find the bits of a quantised embedding table: its packed words make up rows of hidden_size weights."""
    table = next((name for name in scaled if any(table in name for table in tables())), None)
    size = dim(config)
    if table is None or not size:
        raise UnsupportedModelError(f"{path} is quantised, and neither config.json nor its embedding says to what bits")
    shape = tensors.get(f"{table}.weight", {}).get("shape")
    if not shape:
        raise CorruptModelError(f"{path} has '{table}.scales' and no '{table}.weight': fetch it again")
    return int(shape[-1]) * 32 // size
