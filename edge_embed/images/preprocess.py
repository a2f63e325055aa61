"""Images -> float32 pixels as an ImageSpec says, equal to transformers' processors; decoded ahead, in threads.

Resizing is Pillow's, whose bicubic filter covers every pixel that it shrinks (antialias); another library's moves the
vectors (a cosine of 0.94 was reported for CLIP without antialias).
"""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from edge_embed.errors import InputError
from edge_embed.spec.image import RESAMPLE, ImagePixels, ImageSpec

from .budget import PixelBudget
from .sources import ImageInput, ImageSources, open_image, upright_rgb
from .tiles import Size, best_pinpoint, fitted

if TYPE_CHECKING:
    from PIL import Image

Pixels = NDArray[np.float32]
LARGEST = 64_000_000  # pixels of an image once scaled, before its crop
DECODED = PixelBudget(ImageSources.max_pixels)  # of all threads; ImageSources says what a pixel takes
AHEAD = 2  # images that wait for each thread: enough to keep it busy, and no more memory than that


def load_image(item: ImageInput, spec: ImageSpec, sources: ImageSources | None = None, index: int = 0) -> ImagePixels:
    """Load a path, URL, data URI, bytes, Pillow image or NumPy array and preprocess it.

    Raises InputError that names the index: not permitted, not reachable, not an image, damaged or too large.
    """
    try:
        image = open_image(item, sources or ImageSources())
        with DECODED.room(image.width * image.height):
            return preprocess(upright_rgb(image, spec.background), spec)
    except InputError as error:
        raise InputError(f"image {index}: {error}") from error.__cause__


def load_ahead(
    items: Iterable[ImageInput],
    spec: ImageSpec,
    sources: ImageSources | None = None,
    *,
    threads: int = 2,
    errors: Literal["raise", "return"] = "raise",
    indices: Iterable[int] | None = None,
) -> Iterator[ImagePixels | InputError]:
    """Yield each item's ImagePixels, in order, while `threads` threads load what follows.

    No more than AHEAD images a thread are held. With `errors` "return" an item that cannot be loaded gives its
    InputError in its place; with "raise" the error ends the iteration. Errors name `indices`, or count from 0.
    """
    numbered = zip(itertools.count() if indices is None else indices, items, strict=False)
    waiting: deque[Future[ImagePixels]] = deque()
    pool = ThreadPoolExecutor(threads, "edge-embed-images")
    try:
        while True:
            for index, item in itertools.islice(numbered, threads * AHEAD - len(waiting)):
                waiting.append(pool.submit(load_image, item, spec, sources, index))
            if not waiting:
                return
            try:
                yield waiting.popleft().result()
            except InputError as error:
                if errors == "raise":
                    raise
                yield error
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def preprocess(image: Image.Image, spec: ImageSpec) -> ImagePixels:
    """Resize, crop or pad, and normalise an RGB image -> its ImagePixels; with pinpoints, an overview and tiles.

    Raises InputError for a line so thin that it would be scaled to more than LARGEST pixels.
    """
    size = image.height, image.width
    if spec.pinpoints:
        tiles = _tiles(image, spec)
    else:
        tiles = _fit(image, spec)[None]
    return ImagePixels(_normalize(tiles, spec), size)


def _fit(image: Image.Image, spec: ImageSpec) -> NDArray[np.uint8]:
    """Return the image as `spec.size` (height, width, 3)."""
    height, width = _scaled((image.height, image.width), spec)
    if height * width > LARGEST:
        raise InputError(
            f"an image of {image.width:,} x {image.height:,} is too thin: scaled to cover {spec.size[1]} x "
            f"{spec.size[0]} it would have {height * width:,} pixels, the limit is {LARGEST:,}; crop it"
        )
    return _centre(_resize(image, (height, width), spec), spec.size, spec)


def _scaled(size: Size, spec: ImageSpec) -> Size:
    """Return the size before cropping or padding."""
    height, width = size
    if spec.resize == "squash":
        return spec.size
    edge = spec.edge or (spec.size[0] if spec.size[0] == spec.size[1] else None)
    if spec.resize == "shortest" and edge is not None:
        long = int(edge * max(size) / min(size))
        return (edge, long) if height <= width else (long, edge)
    down, across = height / spec.size[0], width / spec.size[1]
    ratio = max(down, across) if spec.resize == "longest" else min(down, across)
    return max(1, round(height / ratio)), max(1, round(width / ratio))


def _resize(image: Image.Image, size: Size, spec: ImageSpec) -> NDArray[np.uint8]:
    # An image of one size already is left as it is, which Pillow's filter would do as well.
    same = (image.height, image.width) == size
    return np.asarray(image if same else image.resize((size[1], size[0]), RESAMPLE.index(spec.resample)))


def _centre(pixels: NDArray[np.uint8], size: Size, spec: ImageSpec) -> NDArray[np.uint8]:
    """Crop the centre, or pad around it, along each axis."""
    for axis, wanted in enumerate(size):
        over = pixels.shape[axis] - wanted
        if over > 0:
            start = over // 2 if spec.half == "down" else round(over / 2)
            pixels = pixels.take(range(start, start + wanted), axis)
        elif over < 0:
            before = -(over // 2) if spec.half == "down" else -over // 2
            around = [(0, 0)] * 3
            around[axis] = (before, -over - before)
            pixels = np.pad(pixels, around, constant_values=spec.fill)
    return pixels


def _tiles(image: Image.Image, spec: ImageSpec) -> NDArray[np.uint8]:
    """Return the overview, squashed, and then the tiles of the image centred in its pinpoint, line by line."""
    size = image.height, image.width
    target, tile = best_pinpoint(size, spec.pinpoints), spec.size
    inner = _resize(image, fitted(size, target), spec)
    top, left = (target[0] - inner.shape[0]) // 2, (target[1] - inner.shape[1]) // 2
    canvas = np.full((*target, 3), spec.fill, np.uint8)
    canvas[top : top + inner.shape[0], left : left + inner.shape[1]] = inner
    grid = canvas.reshape(target[0] // tile[0], tile[0], target[1] // tile[1], tile[1], 3)
    return np.concatenate([_resize(image, tile, spec)[None], grid.swapaxes(1, 2).reshape(-1, *tile, 3)])


def _normalize(tiles: NDArray[np.uint8], spec: ImageSpec) -> Pixels:
    """Look each of 256 values up in a table a channel: tiles (n, height, width, 3) -> (n, 3, height, width)."""
    values = (np.arange(256) * spec.rescale).astype(np.float32)[:, None]
    table = (values - np.array(spec.mean, np.float32)) / np.array(spec.std, np.float32)
    out = np.empty((len(tiles), 3, *tiles.shape[1:3]), np.float32)
    for channel in range(3):
        np.take(table[:, channel], tiles[..., channel], out=out[:, channel], mode="clip")
    return out
