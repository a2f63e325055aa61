"""config.json of CLIP (Radford et al. 2021, arXiv 2103.00020), and of OpenCLIP's models in the same layout.

Both parts are towers of one kind of layers, and each ends in a projection. A text's vector is that of its closing
token, which each text must have; its tower cannot look ahead, so that what a text has after that token, should it
spell one itself, changes nothing.

Models: clip-vit-base-patch32, base-patch16 and large-patch14, and OpenCLIP's in that layout.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from ._checks import check_config, whole
from ._clip import VISION, ImageConfig, TextTower, complete, read_text, read_tower

__all__ = ["Config", "ImageConfig", "image_unused", "own_values", "read", "read_image", "text_values"]

ATTENTION: Final = "causal"
PREFIXES: tuple[str, ...] = ()
UNUSED = ("vision_model.", "visual_projection.", "logit_scale", "text_model.embeddings.position_ids")
IMAGE_UNUSED = ("text_model.", "text_projection.", "logit_scale", "vision_model.embeddings.position_ids")
IMAGE_PREFIXES: tuple[str, ...] = ()
TABLE = "token_embedding"
OUTPUTS = {"text": ("text_embeds",), "image": ("image_embeds",)}
HIGHEST = 2  # an eos_token_id that files before July 2023 have, where the closing token was the one of the highest id
DIM = 512
# What the fields of transformers' CLIPTextConfig are where nothing is said.
TEXT: dict[str, Any] = {
    "eos_token_id": 49407,
    "hidden_act": "quick_gelu",
    "hidden_size": 512,
    "intermediate_size": 2048,
    "layer_norm_eps": 1e-5,
    "max_position_embeddings": 77,
    "model_type": "clip_text_model",
    "num_attention_heads": 8,
    "num_hidden_layers": 12,
    "vocab_size": 49408,
}


@dataclass(frozen=True, kw_only=True)
class Config(TextTower):
    """The numbers of the text tower."""

    eos_token_id: int

    @property
    def closing_token(self) -> int | None:
        """The id of the token whose first row is the text's; None: the highest id of the text is."""
        return None if self.eos_token_id == HIGHEST else self.eos_token_id


def read(config: Mapping[str, Any]) -> Config:
    """Read and check the text tower's numbers; raises for values that are not implemented."""
    check_config(config, {"model_type": ("clip",)}, ("model_type",))
    return read_text(Config, {**_text(config), "dim": _dim(config)}, "clip_text_model")


def read_image(config: Mapping[str, Any]) -> ImageConfig:
    """Read and check the image tower's numbers; raises for values that are not implemented."""
    vision = {"model_type": "clip_vision_model", **complete(config, "vision_config", VISION)}
    return ImageConfig(tower=read_tower(vision), dim=_dim(config))


def image_unused(config: ImageConfig) -> tuple[str, ...]:
    """List how the names of tensors begin that are not read: the text part, and what training alone needs."""
    return IMAGE_UNUSED


def text_values(config: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the text tower's values, complete, and the length of a vector."""
    return {**_text(config), "embed_dim": _dim(config)}


def own_values(config: Mapping[str, Any], tokenizer: Mapping[str, Any]) -> dict[str, Any]:
    """Return keys of edge_embed.json: `last` is the closing token, of which alone the graph gives the row."""
    return {"pooling": "last"}


def _text(config: Mapping[str, Any]) -> dict[str, Any]:
    return complete(config, "text_config", TEXT)


def _dim(config: Mapping[str, Any]) -> int:
    return whole(config, "projection_dim", DIM)
