"""How pictures become pixels, as data: `ImageSpec`, and `preprocessor_config.json` -> ImageSpec.

Two formats are known: that of transformers' CLIP and LLaVA-NeXT processors, and that of Jina's own (resize_mode, mean,
std, fill_color). They differ by a pixel where the crop's border falls on a half. Knows no picture.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from edge_embed.errors import CorruptModelError, UnsupportedModelError, listing

Resize = Literal["shortest", "longest", "squash"]
Resample = Literal["nearest", "lanczos", "bilinear", "bicubic", "box", "hamming"]
RESAMPLE: tuple[Resample, ...] = ("nearest", "lanczos", "bilinear", "bicubic", "box", "hamming")  # by Pillow's number

# What a class of transformers, or of Jina, does with its keys; "Fast" and "Pil" at the end of a name are the same.
CLIP = ("CLIPImageProcessor", "CLIPFeatureExtractor")
TILED = ("LlavaNextImageProcessor",)
JINA = ("JinaCLIPImageProcessor",)
NAMES = {"image_processor_type", "feature_extractor_type", "processor_class", "auto_map", "_valid_processor_keys"}
# Keys that say how a call is made, not what comes out; `do_pad` fills up a batch, and batches are ours to fill.
CALL = {"data_format", "device", "disable_grouping", "do_pad", "input_data_format", "pad_size", "return_tensors"}
STEPS = ("do_center_crop", "do_convert_rgb", "do_normalize", "do_rescale", "do_resize")
STANDARD = {*STEPS, "crop_size", "default_to_square", "image_mean", "image_std", "resample", "rescale_factor", "size"}
ANYRES = {"aspect_ratio_setting", "image_grid_pinpoints"}
JINA_KEYS = {"fill_color", "interpolation", "mean", "resize_mode", "size", "std"}
MEAN = (0.48145466, 0.4578275, 0.40821073)  # OpenAI's CLIP (Radford et al. 2021), what both formats fall back to
STD = (0.26862954, 0.26130258, 0.27577711)


@dataclass(frozen=True)
class Picture:
    """What an image tower takes: pixels (tiles, 3, height, width), float32, and the picture's own size, upright."""

    pixels: NDArray[np.float32]
    size: tuple[int, int]


@dataclass(frozen=True, kw_only=True)
class ImageSpec:
    """State how a picture becomes what the image tower takes: `size` (height, width), and how it gets there.

    `shortest` scales until the picture covers `size` (or until its shorter side is `edge`) and crops the centre;
    `longest` scales until it fits and pads with `fill`; `squash` changes the proportions. `half` says where a border on
    half a pixel goes. A pixel is then multiplied by `rescale`, less `mean`, over `std`. Transparency shows
    `background`. With `pinpoints` (height, width), a picture becomes an overview and tiles (see image_tiles.py).
    """

    size: tuple[int, int]
    resize: Resize = "shortest"
    edge: int | None = None
    resample: Resample = "bicubic"
    half: Literal["down", "even"] = "down"
    fill: int = 0
    rescale: float = 1 / 255
    mean: tuple[float, ...] = MEAN
    std: tuple[float, ...] = STD
    background: tuple[int, ...] = (255, 255, 255)
    pinpoints: tuple[tuple[int, int], ...] = ()


def parse(config: Mapping[str, Any], where: str) -> ImageSpec:
    """Read the parsed `preprocessor_config.json` that `where` names.

    Raises UnsupportedModelError for a key or value that is not implemented, CorruptModelError for an impossible value.
    """
    kind = str(config.get("image_processor_type") or config.get("feature_extractor_type") or "")
    kind = kind.removesuffix("Fast").removesuffix("Pil")
    if kind not in ("", *CLIP, *TILED, *JINA):
        names = listing([*CLIP, *TILED, *JINA])
        raise UnsupportedModelError(f"{where}: image_processor_type={kind!r} is not implemented; there are {names}")
    if kind in JINA or "resize_mode" in config:
        spec = _jina(config, where)
    else:
        spec = _standard(config, where, tiled=kind in TILED or (not kind and "image_grid_pinpoints" in config))
    check(spec, where)
    return spec


def check(spec: ImageSpec, where: str) -> None:
    """Refuse values of the right type that cannot be right; raise CorruptModelError that names them."""
    wrong = {
        "size": len(spec.size) != 2 or min(spec.size) < 1,
        "edge": spec.edge is not None and (spec.resize != "shortest" or spec.edge < 1),
        "mean": len(spec.mean) != 3,
        "std": len(spec.std) != 3 or min(spec.std) <= 0,
        "rescale": spec.rescale <= 0,
        "fill": not 0 <= spec.fill <= 255,
        "background": len(spec.background) != 3 or not all(0 <= part <= 255 for part in spec.background),
        "pinpoints": any(
            len(pin) != 2 or pin[0] < 1 or pin[1] < 1 or pin[0] % spec.size[0] or pin[1] % spec.size[1]
            for pin in spec.pinpoints
        ),
    }
    if names := [name for name, bad in wrong.items() if bad]:
        raise CorruptModelError(f"{where}: impossible value of {listing(names)}: {spec}")


def _jina(config: Mapping[str, Any], where: str) -> ImageSpec:
    """Read the keys of Jina's processor, whose crop rounds halves to even as torchvision's does."""
    _refuse_unknown(config, JINA_KEYS, where)
    mode, resample = config.get("resize_mode", "shortest"), config.get("interpolation", "bicubic")
    if mode not in ("shortest", "longest", "squash"):
        raise UnsupportedModelError(f"{where}: resize_mode={mode!r} is not implemented; shortest, longest, squash are")
    if resample not in ("bicubic", "bilinear"):
        raise UnsupportedModelError(f"{where}: interpolation={resample!r} is not implemented; bicubic, bilinear are")
    return ImageSpec(
        size=_pair(config.get("size", 224), "size", where),
        resize=mode,
        resample=resample,
        half="even",
        fill=_whole(config.get("fill_color", 0), "fill_color", where),
        mean=_channels(config.get("mean", MEAN), "mean", where),
        std=_channels(config.get("std", STD), "std", where),
    )


def _standard(config: Mapping[str, Any], where: str, tiled: bool) -> ImageSpec:
    """Read the keys of transformers' CLIP processor, and with `tiled` of LLaVA-NeXT's."""
    _refuse_unknown(config, STANDARD | ANYRES if tiled else STANDARD, where)
    size = config.get("size", {"shortest_edge": 224})
    if isinstance(size, int):  # older files
        size = {"shortest_edge": size}
    pinpoints = config.get("image_grid_pinpoints") if tiled else []
    crops = config.get("do_center_crop", True)
    needed = STEPS if tiled else STEPS[1:]  # a picture that is squashed to its size needs no crop
    off = [step for step in needed if not config.get(step, True)]
    if off:
        raise UnsupportedModelError(f"{where}: {off[0]}=false is not implemented; true is")
    if tiled and (not pinpoints or config.get("aspect_ratio_setting", "anyres") != "anyres"):
        raise UnsupportedModelError(f"{where}: expected image_grid_pinpoints, and aspect_ratio_setting 'anyres'")
    number = config.get("resample", RESAMPLE.index("bicubic"))
    if type(number) is not int or number not in range(len(RESAMPLE)):
        raise UnsupportedModelError(f"{where}: resample={number!r} is not one of Pillow's 0 to {len(RESAMPLE) - 1}")
    keys = set(size) if isinstance(size, Mapping) else None
    edge = size["shortest_edge"] if keys == {"shortest_edge"} else None
    if edge is None and keys != {"height", "width"}:
        raise UnsupportedModelError(
            f"{where}: size={size!r} is not implemented; shortest_edge, or height and width, are"
        )
    whole = _pair(size if edge is None else edge, "size", where)
    target = _pair(config.get("crop_size", 224), "crop_size", where) if crops else whole
    if target != whole and (tiled or edge is None):
        raise UnsupportedModelError(f"{where}: crop_size={target} and size={whole} must be the same here")
    if edge is not None and not crops:
        raise UnsupportedModelError(
            f"{where}: do_center_crop=false leaves pictures of many sizes, which is not implemented"
        )
    return ImageSpec(
        size=target,
        resize="shortest" if edge is not None else "squash",
        edge=edge,
        resample=RESAMPLE[number],
        rescale=float(config.get("rescale_factor", 1 / 255)),
        mean=_channels(config.get("image_mean", MEAN), "image_mean", where),
        std=_channels(config.get("image_std", STD), "image_std", where),
        pinpoints=tuple(_pair(pin, "image_grid_pinpoints", where) for pin in pinpoints or ()),
    )


def _refuse_unknown(config: Mapping[str, Any], known: set[str], where: str) -> None:
    set_keys = {key for key, value in config.items() if value is not None}
    if unknown := set_keys - known - NAMES - CALL:
        raise UnsupportedModelError(f"{where}: {listing(unknown)} is not implemented; known are {listing(known)}")


def _pair(value: Any, key: str, where: str) -> tuple[int, int]:
    """Read a size: a number, [height, width], or {"height": ..., "width": ...}."""
    if isinstance(value, Mapping) and set(value) == {"height", "width"}:
        value = (value["height"], value["width"])
    if isinstance(value, int):
        value = (value, value)
    if not isinstance(value, Sequence) or len(value) != 2:
        raise CorruptModelError(f"{where}: {key}={value!r} is not a size: expected a number or a height and a width")
    return _whole(value[0], key, where), _whole(value[1], key, where)


def _whole(value: Any, key: str, where: str) -> int:
    if type(value) is not int:
        raise CorruptModelError(f"{where}: {key}={value!r} is not a whole number")
    return value


def _channels(value: Any, key: str, where: str) -> tuple[float, ...]:
    """Read one number for each of three channels, or one for all."""
    values = [value] * 3 if isinstance(value, int | float) else value
    if not isinstance(values, Sequence) or not all(type(part) in (int, float) for part in values):
        raise CorruptModelError(f"{where}: {key}={value!r} is not three numbers")
    return tuple(float(part) for part in values)
