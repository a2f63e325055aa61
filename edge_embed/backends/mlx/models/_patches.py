"""The first layer of a vision transformer (Dosovitskiy et al. 2020, arXiv 2010.11929): patches -> rows."""

from __future__ import annotations

import mlx.core as mx
from mlx import nn


class Patches(nn.Module):
    """Project every patch; the weight keeps the shape (dim, 3, patch, patch) of a convolution over channels first."""

    def __init__(self, dim: int, patch: int, bias: bool) -> None:
        super().__init__()
        self.weight = mx.zeros((dim, 3, patch, patch))
        if bias:
            self.bias = mx.zeros((dim,))

    def __call__(self, pixels: mx.array) -> mx.array:
        """Return (batch, 3, height, width) as (batch, patches, dim), line by line."""
        dim, _, patch, _ = self.weight.shape
        batch, _, height, width = pixels.shape
        cut = pixels.astype(self.weight.dtype).reshape(batch, 3, height // patch, patch, width // patch, patch)
        rows = cut.transpose(0, 2, 4, 1, 3, 5).reshape(batch, -1, 3 * patch * patch)
        rows = rows @ self.weight.reshape(dim, -1).T
        return rows + self.bias if "bias" in self else rows
