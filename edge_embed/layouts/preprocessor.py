"""preprocessor_config.json, or since transformers 5 a part of processor_config.json -> `ImageSpec`, in two formats.

That of transformers' CLIP, SigLIP and LLaVA-NeXT processors, and that of Jina's own (resize_mode, mean, std,
fill_color). They differ by a pixel where the crop's border falls on a half.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from edge_embed.errors import CorruptModelError, UnsupportedModelError, listing
from edge_embed.formats.json_file import read_object
from edge_embed.spec.image import MEAN, RESAMPLE, STD, ImageSpec, check
from edge_embed.spec.values import real, section

PROCESSOR, IMAGE_PROCESSOR = "processor_config.json", "preprocessor_config.json"

# What a class of transformers, or of Jina, does with its keys; "Fast" and "Pil" at the end of a name are the same.
CLIP = ("CLIPImageProcessor", "CLIPFeatureExtractor")


SIGLIP = ("SiglipImageProcessor",)


TILED = ("LlavaNextImageProcessor",)


JINA = ("JinaCLIPImageProcessor",)


NAMES = {"image_processor_type", "feature_extractor_type", "processor_class", "auto_map", "_valid_processor_keys"}


# Keys that say how a call is made, not what comes out; `do_pad` fills up a batch, and batches are ours to fill.
CALL = {"data_format", "device", "disable_grouping", "do_pad", "input_data_format", "pad_size", "return_tensors"}


STEPS = ("do_center_crop", "do_convert_rgb", "do_normalize", "do_rescale", "do_resize")


STANDARD = {*STEPS, "crop_size", "default_to_square", "image_mean", "image_std", "resample", "rescale_factor", "size"}


# What SigLIP's processor does where nothing is said, and CLIP's does otherwise.
HALVES = {"image_mean": [0.5] * 3, "image_std": [0.5] * 3}
SQUARE = {"do_center_crop": False, "size": {"height": 224, "width": 224}, **HALVES}


ANYRES = {"aspect_ratio_setting", "image_grid_pinpoints"}


JINA_KEYS = {"fill_color", "interpolation", "mean", "resize_mode", "size", "std"}


def read_preprocessor(folder: Path) -> ImageSpec | None:
    """Read how images become pixels from a folder's files, the one that transformers reads first; None without any.

    Raises as `parse` does.
    """
    where, config = (
        folder / PROCESSOR,
        section(read_object(folder / PROCESSOR, {}), "image_processor", folder / PROCESSOR),
    )
    if not config:
        where, config = folder / IMAGE_PROCESSOR, read_object(folder / IMAGE_PROCESSOR, {})
    return parse(config, str(where)) if config else None


def parse(config: Mapping[str, Any], where: str) -> ImageSpec:
    """Read the parsed config of an image processor, which lies in the file that `where` names.

    Raises UnsupportedModelError for a key or value that is not implemented, CorruptModelError for an impossible value.
    """
    kind = str(config.get("image_processor_type") or config.get("feature_extractor_type") or "")
    kind = kind.removesuffix("Fast").removesuffix("Pil")
    if kind not in ("", *(known := (*CLIP, *SIGLIP, *TILED, *JINA))):
        names = listing(known)
        raise UnsupportedModelError(f"{where}: image_processor_type={kind!r} is not implemented; there are {names}")
    if kind in JINA or "resize_mode" in config:
        spec = _jina(config, where)
    elif kind in SIGLIP:
        spec = _standard({**SQUARE, **{key: value for key, value in config.items() if value is not None}}, where, False)
    else:
        spec = _standard(config, where, tiled=kind in TILED or (not kind and "image_grid_pinpoints" in config))
    check(spec, where)
    return spec


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
    needed = STEPS if tiled else STEPS[1:]  # an image that is squashed to its size needs no crop
    off = [step for step in needed if not config.get(step, True)]
    if off:
        raise UnsupportedModelError(f"{where}: {off[0]}=false is not implemented; true is")
    listed = isinstance(pinpoints, list) and bool(pinpoints)
    if tiled and not (listed and config.get("aspect_ratio_setting", "anyres") == "anyres"):
        raise UnsupportedModelError(f"{where}: expected image_grid_pinpoints, and aspect_ratio_setting 'anyres'")
    number = config.get("resample", RESAMPLE.index("bicubic"))
    if type(number) is not int or number not in range(len(RESAMPLE)):
        raise UnsupportedModelError(f"{where}: resample={number!r} is not one of Pillow's 0 to {len(RESAMPLE) - 1}")
    keys = set(size) if isinstance(size, Mapping) else None
    edge = _whole(size["shortest_edge"], "size", where) if keys == {"shortest_edge"} else None
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
            f"{where}: do_center_crop=false leaves images of many sizes, which is not implemented"
        )
    return ImageSpec(
        size=target,
        resize="shortest" if edge is not None else "squash",
        edge=edge,
        resample=RESAMPLE[number],
        rescale=real(config, "rescale_factor", where, 1 / 255),
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
    numbers = isinstance(values, Sequence) and all(type(part) in (int, float) and abs(part) < 1e9 for part in values)
    if not numbers:
        raise CorruptModelError(f"{where}: {key}={value!r} is not three numbers")
    return tuple(float(part) for part in values)
