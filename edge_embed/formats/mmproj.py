"""llama.cpp's file of an image tower and its projector, `mmproj-*.gguf`: what its header says of images.

Layout: tools/mtmd of ggml-org/llama.cpp, that of LLaVA-1.6 (projector type `mlp`). llama.cpp itself packs the tiles'
features in another way than the models were trained with, so a graph of our own is made of the tensors.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from edge_embed.errors import CorruptModelError, UnsupportedModelError, listing
from edge_embed.spec import image as image_spec
from edge_embed.spec import values
from edge_embed.spec.image import ImageSpec

from .gguf import Header, read_header

PROJECTOR = "mlp"
NEWLINES = ("model.image_newline", "v.image_newline")  # of older converters, and of newer ones
# Tensors of other projectors that go by the same type, by the model that has them.
OTHERS = {"mm.3.weight": "Yi's, with norms", "mm.1.weight": "Yi's, with norms"}
NEEDED = ("image_size", "patch_size", "embedding_length", "block_count", "attention.head_count", "image_grid_pinpoints")


def read_mmproj(path: Path, dim: int | None = None) -> Header:
    """Read the header; `dim` is the width of the language model that is to read the rows, where it is known.

    Raises UnsupportedModelError for a tower or projector that is not implemented, by its name, CorruptModelError for
    one that lacks something or gives rows of another width.
    """
    header = read_header(path)
    metadata, tensors = header.metadata, header.tensors
    if metadata.get("general.architecture") != "clip" or not metadata.get("clip.has_vision_encoder"):
        raise UnsupportedModelError(
            f"{path} is no image tower: general.architecture={metadata.get('general.architecture')!r}, "
            f"clip.has_vision_encoder={metadata.get('clip.has_vision_encoder')!r}; 'clip' and True are"
        )
    kind = metadata.get("clip.projector_type") or metadata.get("clip.vision.projector_type") or PROJECTOR
    other = next((what for name, what in OTHERS.items() if name in tensors), None)
    if kind != PROJECTOR or other:
        raise UnsupportedModelError(
            f"{path} has the projector {other or repr(kind)}, which is not implemented; {PROJECTOR!r} of LLaVA-1.6 is"
        )
    if metadata.get("clip.use_silu"):
        raise UnsupportedModelError(f"{path}: clip.use_silu is not implemented; GELU and quick GELU are")
    missing = [f"clip.vision.{key}" for key in NEEDED if not metadata.get(f"clip.vision.{key}")]
    missing += [name for name in ("mm.0.weight", "mm.2.weight", "v.blk.0.ffn_up.weight") if name not in tensors]
    if not set(NEWLINES) & set(tensors):
        missing.append(NEWLINES[0])
    if missing:
        raise CorruptModelError(f"{path} lacks {listing(missing)}, which LLaVA-1.6 needs: get another file")
    if any(len(tensors[name].shape) != 2 for name in ("mm.0.weight", "mm.2.weight", "v.blk.0.ffn_up.weight")):
        raise CorruptModelError(f"{path} has matrices that are none: get another file")
    width = tensors["mm.2.weight"].shape[-1]
    if dim not in (None, width):
        raise CorruptModelError(
            f"{path} makes rows {width} wide, the language model beside it reads {dim}: they are of other models"
        )
    return header


def image_spec_of(header: Header, path: Path) -> ImageSpec:
    """Return how images become pixels, by what read_mmproj returned of a path."""
    metadata = header.metadata
    side = vision(metadata, "image_size")
    spec = ImageSpec(
        size=(side, side),
        edge=side,
        mean=_channels(metadata, "image_mean", image_spec.MEAN, path),
        std=_channels(metadata, "image_std", image_spec.STD, path),
        pinpoints=_pinpoints(metadata, path),
    )
    image_spec.check(spec, str(path))
    return spec


def vision(metadata: Mapping[str, Any], key: str) -> int:
    """Return a whole number of the tower; raise CorruptModelError for another value."""
    return values.whole(metadata, f"clip.vision.{key}", "mmproj")


def _pinpoints(metadata: Mapping[str, Any], path: Path) -> tuple[tuple[int, int], ...]:
    """Return pairs of height and width, which the file lists one after another."""
    flat = metadata["clip.vision.image_grid_pinpoints"]
    if not isinstance(flat, list) or len(flat) % 2 or not all(type(size) is int for size in flat):
        raise CorruptModelError(f"{path}: clip.vision.image_grid_pinpoints={flat!r} is no short list of pairs")
    return tuple(zip(flat[::2], flat[1::2], strict=True))


def _channels(metadata: Mapping[str, Any], key: str, usual: tuple[float, ...], path: Path) -> tuple[float, ...]:
    found = metadata.get(f"clip.vision.{key}", list(usual))
    numbers = isinstance(found, list) and all(type(part) in (int, float) and abs(part) < 1e9 for part in found)
    if not numbers or len(found) != 3:
        raise CorruptModelError(f"{path}: clip.vision.{key}={found!r} is not three numbers")
    return tuple(float(part) for part in found)
