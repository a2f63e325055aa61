"""How images become pixels, as data: `ImageSpec`, and `preprocessor_config.json` -> ImageSpec.

Two formats are known: that of transformers' CLIP and LLaVA-NeXT processors, and that of Jina's own (resize_mode, mean,
std, fill_color). They differ by a pixel where the crop's border falls on a half. Knows no image.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from edge_embed.errors import CorruptModelError, listing

Resize = Literal["shortest", "longest", "squash"]
Resample = Literal["nearest", "lanczos", "bilinear", "bicubic", "box", "hamming"]

MEAN = (0.48145466, 0.4578275, 0.40821073)  # OpenAI's CLIP (Radford et al. 2021), what both formats fall back to
STD = (0.26862954, 0.26130258, 0.27577711)


@dataclass(frozen=True)
class ImagePixels:
    """What an image tower takes: pixels (tiles, 3, height, width), float32, and the image's own size, upright."""

    pixels: NDArray[np.float32]
    size: tuple[int, int]


@dataclass(frozen=True, kw_only=True)
class ImageSpec:
    """State how an image becomes what the image tower takes: `size` (height, width), and how it gets there.

    `shortest` scales until the image covers `size` (or until its shorter side is `edge`) and crops the centre;
    `longest` scales until it fits and pads with `fill`; `squash` changes the proportions. `half` says where a border on
    half a pixel goes. A pixel is then multiplied by `rescale`, less `mean`, over `std`. Transparency shows
    `background`. With `pinpoints` (height, width), an image becomes an overview and tiles (see images/tiles.py).
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


LARGEST_SIDE = 8192  # pixels; the largest towers take some 1,500
MOST_TILES = 256  # of an image; LLaVA-NeXT takes 4, others up to 36


def check(spec: ImageSpec, where: str) -> None:
    """Refuse values of the right type that cannot be right; raise CorruptModelError that names them."""
    wrong = {
        "size": len(spec.size) != 2 or not 1 <= min(spec.size) <= max(spec.size) <= LARGEST_SIDE,
        "edge": spec.edge is not None and (spec.resize != "shortest" or not 1 <= spec.edge <= LARGEST_SIDE),
        "mean": len(spec.mean) != 3,
        "std": len(spec.std) != 3 or min(spec.std) <= 0,
        "rescale": spec.rescale <= 0,
        "fill": not 0 <= spec.fill <= 255,
        "background": len(spec.background) != 3 or not all(0 <= part <= 255 for part in spec.background),
    }
    if not wrong["size"]:
        wrong["pinpoints"] = any(_unfit_pinpoint(pin, spec.size) for pin in spec.pinpoints)
    if names := [name for name, bad in wrong.items() if bad]:
        raise CorruptModelError(f"{where}: impossible value of {listing(names)}: {spec}")


def _unfit_pinpoint(pin: tuple[int, ...], size: tuple[int, int]) -> bool:
    """Whether a pinpoint (height, width) is no whole number of tiles of a size, or of too many."""
    if len(pin) != 2 or min(pin) < 1 or pin[0] % size[0] or pin[1] % size[1]:
        return True
    return (pin[0] // size[0]) * (pin[1] // size[1]) > MOST_TILES


RESAMPLE: tuple[Resample, ...] = ("nearest", "lanczos", "bilinear", "bicubic", "box", "hamming")  # by Pillow's number
