"""Generated images: many sizes and modes, and some that look like photographs to an image tower."""

from __future__ import annotations

import functools
import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image

SIZES = [(1, 1), (3, 500), (500, 3), (224, 224), (225, 224), (224, 227), (333, 517), (640, 480), (97, 101), (1500, 700)]
MODES = ["RGB", "L", "P", "RGBA", "LA", "CMYK", "1", "YCbCr", "PA", "RGB"]


def photograph(width: int, height: int, seed: int) -> NDArray[np.uint8]:
    """Return smooth shapes with edges, texture and noise, uint8 (height, width, 3)."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:height, 0:width] / max(width, height)
    drawing = np.zeros((height, width, 3))
    for _ in range(12):
        centre, radius, colour = rng.random(2), rng.uniform(0.05, 0.5), rng.normal(0, 90, 3)
        wave = np.sin((x * rng.normal() + y * rng.normal()) * rng.uniform(5, 120))
        inside = ((x - centre[0]) ** 2 + (y - centre[1]) ** 2) < radius**2
        drawing += colour * (inside * 0.8 + 0.3 * wave)[..., None]
    drawing += 128 + rng.normal(0, 6, drawing.shape)
    return drawing.clip(0, 255).astype(np.uint8)


@functools.cache
def many() -> tuple[Image.Image, ...]:
    """Return thirty images of odd sizes and modes."""
    made = []
    for n in range(30):
        width, height = SIZES[n % 10]
        image = Image.fromarray(photograph(width, height, n))
        mode = MODES[(n + n // 10) % 10]
        if mode in ("RGBA", "LA", "PA"):
            alpha = Image.fromarray(photograph(width, height, n + 100)[..., 0])
            image.putalpha(alpha)
            image = image if mode == "RGBA" else image.convert("LA")
            if mode == "PA":
                image = image.convert("RGBA").quantize(16)
        else:
            image = image.convert(mode)
        made.append(image)
    return tuple(made)


def encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    """Return an image's file as bytes."""
    file = io.BytesIO()
    image.save(file, kind, **options)  # type: ignore[arg-type]
    return file.getvalue()
