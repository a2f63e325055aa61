"""LLaVA-NeXT's any resolution: which tiles an image becomes, and in which order their features are read.

As transformers' LlavaNext computes it: the pinpoint that keeps most of the image, the image scaled into it and
centred on black, cut into tiles; of the tiles' features, those of the padding are left out and each line of the whole
is closed with a newline (Liu et al. 2024, "LLaVA-NeXT"). Pure arithmetic on sizes, all (height, width).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from edge_embed.spec.image import ImagePixels, ImageSpec

Size = tuple[int, int]
Rows = NDArray[np.float32]
TILES_AT_ONCE = 8  # in one call of an image tower: more are no faster, and one of CLIP-L at 336 pixels takes 30 MB
NEWLINE = -1  # where the learned newline stands among the rows


def best_pinpoint(size: Size, pinpoints: Sequence[Size]) -> Size:
    """Return the pinpoint that keeps most of the image's pixels, and of those the one that wastes fewest."""
    height, width = size

    def kept(pinpoint: Size) -> tuple[int, int]:
        scale = min(pinpoint[1] / width, pinpoint[0] / height)
        pixels = min(int(width * scale) * int(height * scale), width * height)
        return pixels, pixels - pinpoint[0] * pinpoint[1]

    return max(pinpoints, key=kept)  # the first of equals


def most_tiles(spec: ImageSpec) -> int:
    """Return how many tiles an image becomes at most, its overview among them."""
    return 1 + max((pin[0] * pin[1] // (spec.size[0] * spec.size[1]) for pin in spec.pinpoints), default=0)


def fitted(size: Size, target: Size) -> Size:
    """Return the size of an image scaled into `target` with its proportions kept."""
    height, width = size
    across, down = target[1] / width, target[0] / height
    if across < down:
        return min(math.ceil(height * across), target[0]), target[1]
    return target[0], min(math.ceil(width * down), target[1])


def packed_rows(size: Size, pinpoints: Sequence[Size], tile: Size, grid: Size) -> NDArray[np.int64]:
    """Return which feature rows follow one another, with NEWLINE for a newline, int64.

    `size` is the image's, `tile` a tile's in pixels, `grid` a tile's in patches. Rows count through the overview and
    then the tiles, line by line in each, without class tokens: the overview comes first, whole, and ends unmarked.
    """
    target = best_pinpoint(size, pinpoints)
    down, across = target[0] // tile[0], target[1] // tile[1]
    count = grid[0] * grid[1]
    rows = count + np.arange(down * across * count).reshape(down, across, *grid)
    canvas = rows.transpose(0, 2, 1, 3).reshape(down * grid[0], across * grid[1])
    canvas = _unpad(canvas, size)
    lines = np.pad(canvas, ((0, 0), (0, 1)), constant_values=NEWLINE)
    return np.concatenate([np.arange(count), lines.reshape(-1)])


def pack_images(features: Rows, newline: Rows, images: Sequence[ImagePixels], spec: ImageSpec) -> list[Rows]:
    """Pack the features of several images' tiles, which stand one after the other; see `pack`."""
    ends = np.cumsum([len(image.pixels) for image in images])
    parts = zip(np.split(features, ends[:-1]), images, strict=True)
    return [pack(part, newline, image.size, spec) for part, image in parts]


def pack(features: Rows, newline: Rows, size: Size, spec: ImageSpec) -> Rows:
    """Put the features of an image's tiles (tiles, patches, dim) in reading order, newlines (dim,) among them.

    `size` is the image's. Returns (rows, dim); without pinpoints there is one tile, and its patches are the rows.
    """
    tiles, patches, dim = features.shape
    if not spec.pinpoints:
        return features.reshape(-1, dim)
    rows = np.concatenate([features.reshape(-1, dim), newline[None]])  # the last is what NEWLINE indexes
    across = math.isqrt(patches * spec.size[1] // spec.size[0])
    order = packed_rows(size, spec.pinpoints, spec.size, (patches // across, across))
    if order.max() >= tiles * patches:
        raise ValueError(f"an image of {size} needs more tiles than the {tiles} that were given")
    return rows[order]


def _unpad(canvas: NDArray[np.int64], size: Size) -> NDArray[np.int64]:
    """Leave out the patches that show only padding; rounded at the seventh place, as the reference does."""
    height, width = size
    rows, columns = canvas.shape
    if width / height > columns / rows:
        pad = (rows - int(round(height * (columns / width), 7))) // 2
        return canvas[pad : rows - pad]
    pad = (columns - int(round(width * (rows / height), 7))) // 2
    return canvas[:, pad : columns - pad]
