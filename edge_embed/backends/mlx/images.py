"""An image tower in MLX: an image's vector, or the rows that a language model reads."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import mlx.core as mx
import numpy as np

from edge_embed.backends import Rows
from edge_embed.errors import BackendError, InputError
from edge_embed.images.tiles import TILES_AT_ONCE, pack_images
from edge_embed.spec.image import ImagePixels, ImageSpec

from .model_thread import ModelThread, free_buffers


class MlxImageBackend(ModelThread):
    """One image tower in a thread of its own."""

    def __init__(self, open_model: Callable[[], Any], spec: ImageSpec | None) -> None:
        if spec is None:
            raise BackendError("the model has an image part, and nothing says how images become pixels")
        self._spec = spec
        super().__init__(open_model)

    def forward(self, images: Sequence[ImagePixels]) -> list[Rows]:
        """Compute the images' tiles, some at a time; raise InputError for pixels of another size."""
        return self._thread.run(lambda: self._forward(images))

    def _forward(self, images: Sequence[ImagePixels]) -> list[Rows]:
        model = self._loaded()
        pixels = np.concatenate([image.pixels for image in images])
        if pixels.shape[2:] != tuple(model.size):
            raise InputError(f"images come as {pixels.shape[2:]} pixels, the weights take {tuple(model.size)}")
        try:
            groups = [model(mx.array(pixels[n : n + TILES_AT_ONCE])) for n in range(0, len(pixels), TILES_AT_ONCE)]
            out = np.concatenate([np.array(rows.astype(mx.float32)) for rows in groups])
        except (RuntimeError, ValueError) as error:
            raise BackendError(f"MLX failed on images of {pixels.shape}: {error}") from error
        free_buffers()
        if out.ndim == 2:
            return [row[None] for row in out]
        newline = np.array(model.image_newline.astype(mx.float32))
        return pack_images(out, newline, images, self._spec)
