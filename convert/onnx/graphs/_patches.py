"""What vision transformers begin with (Dosovitskiy et al. 2020, arXiv 2010.11929): an image's patches as rows."""

from __future__ import annotations

import numpy as np

from ...checkpoint.source import Array
from ..builder import Builder


def patches(b: Builder, kernel: Array, bias: Array | None, token: Array | None, positions: Array) -> str:
    """Project each patch of `pixel_values`, put the class token before them, if any, and add the positions.

    `kernel` (dim, 3, patch, patch), `bias` and `token` (dim,), `positions` (1 + patches, dim), (patches, dim) without
    a token. Projected by Conv in float32 at every level: 0.7 % of the work, and pixels have no outliers to spare.
    """
    dim, patch = kernel.shape[0], kernel.shape[-1]
    shift = "" if bias is None else b.weight("patch_embed.bias", bias)
    weight = b.weight("patch_embed.weight", kernel)
    sizes = [patch, patch]
    grid = b.node("Conv", "pixel_values", weight, shift, kernel_shape=sizes, strides=sizes)
    flat = b.node("Reshape", grid, b.constant([0, dim, -1], np.int64))
    rows = b.node("Transpose", flat, perm=[0, 2, 1])
    if token is not None:
        batch = b.node("Shape", "pixel_values", start=0, end=1)
        each = b.node("Concat", batch, b.constant([1, dim], np.int64), axis=0)
        first = b.node("Expand", b.weight("class_token", token.reshape(1, 1, dim)), each)
        rows = b.node("Concat", first, rows, axis=1)
    return b.node("Add", rows, b.weight("positions", positions))
