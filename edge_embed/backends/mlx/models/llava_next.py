"""LLaVA-NeXT as transformers' LlavaNextModel computes it: Llama, which reads what CLIP's tower sees of an image; E5-V.

The image part gives the rows that stand in the text part among those of the tokens (Liu et al. 2023, arXiv 2304.08485).
"""

from __future__ import annotations

import mlx.core as mx
from mlx import nn

from edge_embed.architectures.llava_next import ImageConfig

from ._clip import Embeddings, Encoder
from .llama import SENSITIVE_LAYERS, Model

__all__ = ["SENSITIVE_LAYERS", "ImageModel", "Model"]


class Projector(nn.Module):
    """Bring the tower's rows to the width of the language model."""

    def __init__(self, config: ImageConfig) -> None:
        super().__init__()
        self.linear_1 = nn.Linear(config.tower.hidden_size, config.dim, bias=config.projector_bias)
        self.linear_2 = nn.Linear(config.dim, config.dim, bias=config.projector_bias)

    def __call__(self, x: mx.array) -> mx.array:
        """Return (tiles, patches, dim)."""
        return self.linear_2(nn.gelu(self.linear_1(x)))


class ImageModel(nn.Module):
    """Tiles (batch, 3, height, width) -> their patches' rows, as the language model reads them, and the newline."""

    def __init__(self, config: ImageConfig) -> None:
        super().__init__()
        tower = config.tower
        self.size = (tower.image_size, tower.image_size)
        self.embeddings = Embeddings(tower)
        self.pre_layrnorm = nn.LayerNorm(tower.hidden_size, eps=tower.layer_norm_eps)
        self.encoder = Encoder(tower, config.layers)
        self.multi_modal_projector = Projector(config)
        self.image_newline = mx.zeros((config.dim,))

    def __call__(self, pixels: mx.array) -> mx.array:
        """Compute as many layers as count, drop the class token, and project."""
        x = self.pre_layrnorm(self.embeddings(pixels))
        for layer in self.encoder.layers:
            x = layer(x)
        return self.multi_modal_projector(x[:, 1:])
