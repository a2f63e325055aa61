"""LLaVA-NeXT as transformers' LlavaNextModel computes it: Llama, which reads what CLIP's tower sees of a picture; E5-V.

The image part gives the rows that stand in the text part among those of the tokens (Liu et al. 2023, arXiv 2304.08485).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import mlx.core as mx
from mlx import nn

from edge_embed.architectures.config import check_config
from edge_embed.architectures.llava_next import whole_config
from edge_embed.errors import UnsupportedModelError

from ._clip import Embeddings, Encoder, Tower, read_tower
from ._llama import FINER, Config
from ._llama import read as read_llama
from .llama import Model

__all__ = [
    "FINER",
    "IMAGE_PREFIXES",
    "PREFIXES",
    "UNUSED",
    "Config",
    "ImageModel",
    "Model",
    "image_unused",
    "read",
    "read_image",
]

# As transformers up to 4.51 named the parts, and as it does from 4.52 on.
PREFIXES = ("language_model.model.", "model.language_model.")
IMAGE_PREFIXES = (
    *("model.vision_tower.vision_model.", "model.vision_tower.", "vision_tower.vision_model.", "vision_tower."),
    "model.",
)
PICTURES = ("vision_tower.", "multi_modal_projector.", "image_newline")
UNUSED = ("language_model.lm_head.", "lm_head.", *PICTURES, *(f"model.{name}" for name in PICTURES))
ALLOWED = {
    "model_type": ("llava_next",),
    "projector_hidden_act": ("gelu",),
    "multimodal_projector_bias": (True,),
    "vision_feature_select_strategy": ("default",),
}
ALLOWED_TEXT = {"model_type": ("llama",)}


def read(config: Mapping[str, Any]) -> Config:
    """Read and check the language model's numbers."""
    return read_llama(_whole(config)["text_config"])


def _whole(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the config, checked, with what transformers' defaults fill in."""
    check_config(config, ALLOWED, ("text_config", "vision_config"))
    whole = whole_config(config)
    check_config(whole["text_config"], ALLOWED_TEXT, ("model_type",))
    return whole


@dataclass(frozen=True, kw_only=True)
class ImageConfig:
    """The tower, how many of its layers are computed, and the width of the language model."""

    tower: Tower
    layers: int
    dim: int


def read_image(config: Mapping[str, Any]) -> ImageConfig:
    """Read and check the tower's numbers, and which layer's rows the projector reads."""
    whole = _whole(config)
    tower = read_tower(whole["vision_config"])
    layer, count = whole["vision_feature_layer"], tower.num_hidden_layers
    if type(layer) is not int or not -count <= layer <= count:
        raise UnsupportedModelError(
            f"config.json: vision_feature_layer={layer!r} is not implemented; one of the tower's {count} layers is"
        )
    return ImageConfig(
        tower=tower, layers=layer if layer >= 0 else count + 1 + layer, dim=whole["text_config"]["hidden_size"]
    )


def image_unused(config: ImageConfig) -> tuple[str, ...]:
    """List how the names of tensors begin that are not read: the text part, and the layers behind the one that is."""
    behind = (f"encoder.layers.{n}." for n in range(config.layers, config.tower.num_hidden_layers))
    return ("language_model.", "lm_head.", "post_layernorm.", "embeddings.position_ids", *behind)


class Projector(nn.Module):
    """Bring the tower's rows to the width of the language model."""

    def __init__(self, config: ImageConfig) -> None:
        super().__init__()
        self.linear_1 = nn.Linear(config.tower.hidden_size, config.dim)
        self.linear_2 = nn.Linear(config.dim, config.dim)

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
