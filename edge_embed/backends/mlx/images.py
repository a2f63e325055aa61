"""An image tower in MLX: a picture's vector, or the rows that a language model reads."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import mlx.core as mx
import numpy as np

from edge_embed.backends import Batch, Rows
from edge_embed.errors import BackendError, InputError
from edge_embed.images.tiles import TILES_AT_ONCE, pack
from edge_embed.spec.image import ImageSpec

from .owner import Held, trim


class MlxImageBackend(Held):
    """One image tower in a thread of its own."""

    def __init__(self, open_model: Callable[[], Any], spec: ImageSpec | None) -> None:
        if spec is None:
            raise BackendError("the model has an image part, and nothing says how pictures become pixels")
        self._spec = spec
        super().__init__(open_model)

    def forward(self, batch: Batch) -> list[Rows]:
        """Compute the pictures' tiles, some at a time; raise InputError for pixels of another size."""
        return self._owner.run(lambda: self._forward(batch))

    def _forward(self, batch: Batch) -> list[Rows]:
        model = self._loaded()
        pixels = np.concatenate([picture.pixels for picture in batch.pictures])
        if pixels.shape[2:] != tuple(model.size):
            raise InputError(f"pictures come as {pixels.shape[2:]} pixels, the weights take {tuple(model.size)}")
        try:
            groups = [model(mx.array(pixels[n : n + TILES_AT_ONCE])) for n in range(0, len(pixels), TILES_AT_ONCE)]
            out = np.concatenate([np.array(rows.astype(mx.float32)) for rows in groups])
        except (RuntimeError, ValueError) as error:
            raise BackendError(f"MLX failed on pictures of {pixels.shape}: {error}") from error
        trim()
        if out.ndim == 2:
            return [row[None] for row in out]
        newline = np.array(model.image_newline.astype(mx.float32))
        starts = np.cumsum([len(picture.pixels) for picture in batch.pictures])[:-1]
        shares = zip(np.split(out, starts), batch.pictures, strict=True)
        return [pack(rows, newline, picture.size, self._spec) for rows, picture in shares]
