"""LLaVA-NeXT as transformers' LlavaNextModel computes it: Llama, which reads what CLIP's tower sees of a picture; E5-V.

The image part gives the rows that stand in the text part among those of the tokens (Liu et al. 2023, arXiv 2304.08485).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import mlx.core as mx
from mlx import nn

from ..config import check_config
from ..errors import UnsupportedModelError
from ._clip import Embeddings, Encoder, Tower, read_tower
from ._rotary import FINER, Config
from ._rotary import read as read_llama
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
# What transformers' LlamaConfig takes where a nested config is silent: it was written without its defaults.
LLAMA = {
    "hidden_size": 4096,
    "intermediate_size": 11008,
    "num_attention_heads": 32,
    "num_hidden_layers": 32,
    "rms_norm_eps": 1e-6,
    "vocab_size": 32000,
}


def read(config: Mapping[str, Any]) -> Config:
    """Read and check the language model's numbers."""
    return read_llama(_text(config))


def _text(config: Mapping[str, Any]) -> dict[str, Any]:
    check_config(config, ALLOWED, ("text_config", "vision_config"))
    text = {**LLAMA, **config["text_config"]}
    check_config(text, ALLOWED_TEXT, ("model_type",))
    return text if "rope_parameters" in text else {"rope_theta": 1e4, **text}


@dataclass(frozen=True, kw_only=True)
class ImageConfig:
    """The tower, how many of its layers are computed, and the width of the language model."""

    tower: Tower
    layers: int
    dim: int


def read_image(config: Mapping[str, Any]) -> ImageConfig:
    """Read and check the tower's numbers, and which layer's rows the projector reads."""
    dim = _text(config)["hidden_size"]
    tower = read_tower(config["vision_config"])
    layer, count = config.get("vision_feature_layer", -2), tower.num_hidden_layers
    if type(layer) is not int or not -count <= layer <= count:
        raise UnsupportedModelError(
            f"config.json: vision_feature_layer={layer!r} is not implemented; one of the tower's {count} layers is"
        )
    return ImageConfig(tower=tower, layers=layer if layer >= 0 else count + 1 + layer, dim=dim)


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
