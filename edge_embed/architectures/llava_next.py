"""config.json of LLaVA-NeXT: the language model's and the tower's numbers, where transformers' defaults fill gaps.

Up to release 4.51 transformers wrote of a nested config what differs from its class's defaults, and nothing else: a
LLaVA-NeXT over Llama-3-8B does not say that it has 32 layers of width 4,096.

Models: e5-v.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from edge_embed.errors import UnsupportedModelError

from . import llama
from ._checks import check_config, section
from ._clip import VISION, Tower, read_tower, unused
from ._llama import TABLE, Config

__all__ = ["ATTENTION", "IMAGE_PREFIXES", "PREFIXES", "TABLE", "UNUSED", "Config", "ImageConfig", "read", "read_image"]

ATTENTION: Final = "causal"
ALLOWED = {
    "multimodal_projector_bias": (True, False),
    "projector_hidden_act": ("gelu",),
    "vision_feature_select_strategy": ("default",),
}
ALLOWED_TEXT = {"model_type": ("llama",)}
NEWLINE = "image_newline"  # the row that ends a line of patches
# As transformers up to 4.51 named tensors, and as it does since.
PREFIXES = ("language_model.model.", "model.language_model.")
TOWER = ("vision_tower.vision_model.", "model.vision_tower.vision_model.", "vision_tower.", "model.vision_tower.")
PROJECTOR = ("multi_modal_projector.", "model.multi_modal_projector.")
NEWLINES = (NEWLINE, f"model.{NEWLINE}")
HEADS = ("language_model.lm_head.", "lm_head.")
IMAGE_PREFIXES = (*TOWER, "model.")
UNUSED = (*HEADS, *TOWER, *PROJECTOR, *NEWLINES)

# What the fields of transformers' LlamaConfig and LlavaNextConfig are where nothing is said.
LLAMA: dict[str, Any] = {
    "hidden_act": "silu",
    "hidden_size": 4096,
    "intermediate_size": 11008,
    "max_position_embeddings": 2048,
    "num_attention_heads": 32,
    "num_hidden_layers": 32,
    "rms_norm_eps": 1e-6,
    "rope_theta": 1e4,
    "vocab_size": 32000,
}
LLAVA_NEXT: dict[str, Any] = {
    "image_token_index": 32000,
    "multimodal_projector_bias": True,
    "projector_hidden_act": "gelu",
    "vision_feature_layer": -2,
    "vision_feature_select_strategy": "default",
}


@dataclass(frozen=True, kw_only=True)
class ImageConfig:
    """The tower, how many of its layers are computed, the language model's width, and if the projector has biases."""

    tower: Tower
    layers: int
    dim: int
    projector_bias: bool

    @property
    def image_size(self) -> int:
        """The side of a tile in pixels."""
        return self.tower.image_size


def read(config: Mapping[str, Any]) -> Config:
    """Read and check the language model's numbers."""
    return llama.read(_checked(config)["text_config"])


def read_image(config: Mapping[str, Any]) -> ImageConfig:
    """Read and check the tower's numbers, and which layer's rows the projector reads."""
    complete = _checked(config)
    tower = read_tower(complete["vision_config"])
    return ImageConfig(
        tower=tower,
        layers=_feature_layers(complete["vision_feature_layer"], tower.num_hidden_layers),
        dim=complete["text_config"]["hidden_size"],
        projector_bias=complete["multimodal_projector_bias"],
    )


def image_unused(config: ImageConfig) -> tuple[str, ...]:
    """List how the names of tensors begin that are not read: the text part, and layers behind the one that is."""
    return (*unused(config.tower, config.layers), *PREFIXES, "language_model.", *HEADS)


def text_values(config: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the language model's values, complete."""
    return text_config(config)


def text_config(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the language model's config, complete, in the form that a checkpoint of it alone would have."""
    return {**LLAMA, **section(config, "text_config")}


def with_defaults(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the whole config, complete, with complete parts; `image_token_id` is a newer name of image_token_index."""
    renamed = {"image_token_index": config["image_token_id"]} if "image_token_id" in config else {}
    nested = {"text_config": text_config(config), "vision_config": {**VISION, **section(config, "vision_config")}}
    return {**LLAVA_NEXT, **config, **renamed, **nested}


def _checked(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the complete config; raise UnsupportedModelError for a value that is not implemented."""
    complete = with_defaults(config)
    check_config(complete, ALLOWED, ())
    check_config(complete["text_config"], ALLOWED_TEXT, ("model_type",))
    return complete


def _feature_layers(layer: object, layers: int) -> int:
    """Return after how many layers of the tower its rows are taken; `vision_feature_layer` counts from either end.

    transformers takes hidden_states[layer], of which there are one more than layers: the first is the layers' input.
    """
    if type(layer) is not int:
        raise UnsupportedModelError(f"config.json: vision_feature_layer={layer!r} is not implemented; one number is")
    if not -layers - 1 <= layer <= layers:
        raise UnsupportedModelError(
            f"config.json: vision_feature_layer={layer} is none of a tower of {layers} layers, 0 to {layers}, or from "
            f"the end -1 to {-layers - 1}"
        )
    return layer if layer >= 0 else layers + 1 + layer
