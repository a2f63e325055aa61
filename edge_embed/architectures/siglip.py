"""config.json of SigLIP (Zhai et al. 2023, arXiv 2303.15343) and of SigLIP 2 (Tschannen et al. 2025, arXiv 2502.14786).

SigLIP 2's checkpoints of one resolution are SigLIP's architecture with other words. Texts were filled up to the length
of the table of positions with a token that is read like any other, in lower case; the last row, whatever stands there,
is the text's. So transformers' documentation of both says ("padding='max_length'"), and SigLIP 2's tokenizer does.

Models: siglip-base-patch16-224 to siglip-so400m-patch14-384, siglip2 of one resolution.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from edge_embed.errors import CorruptModelError, UnsupportedModelError
from edge_embed.spec.values import shown

from ._checks import check_config, whole
from ._clip import ImageConfig, TextTower, complete, read_text, read_tower

__all__ = ["Config", "ImageConfig", "image_unused", "own_values", "read", "read_image", "text_values"]

ATTENTION: Final = "full"
PREFIXES: tuple[str, ...] = ()
UNUSED = ("vision_model.", "logit_scale", "logit_bias", "text_model.embeddings.position_ids")
IMAGE_UNUSED = ("text_model.", "logit_scale", "logit_bias", "vision_model.embeddings.position_ids")
IMAGE_PREFIXES: tuple[str, ...] = ()
TABLE = "token_embedding"
OUTPUTS = {"text": ("text_embeds", "pooler_output"), "image": ("image_embeds", "pooler_output")}
FILLER = "<pad>"  # of SigLIP 2, where tokenizer_config.json does not say
FILLERS = {"SiglipTokenizer": "</s>"}
# What the fields of transformers' SiglipTextConfig and SiglipVisionConfig are where nothing is said.
LAYERS: dict[str, Any] = {
    "hidden_act": "gelu_pytorch_tanh",
    "hidden_size": 768,
    "intermediate_size": 3072,
    "layer_norm_eps": 1e-6,
    "num_attention_heads": 12,
    "num_hidden_layers": 12,
}
TEXT = {**LAYERS, "model_type": "siglip_text_model", "max_position_embeddings": 64, "vocab_size": 32000}
VISION = {
    **LAYERS,
    "model_type": "siglip_vision_model",
    "image_size": 224,
    "num_channels": 3,
    "patch_size": 16,
    "vision_use_head": True,
}


class Config(TextTower):
    """The numbers of the text tower."""


def read(config: Mapping[str, Any]) -> Config:
    """Read and check the text tower's numbers; raises for values that are not implemented."""
    check_config(config, {"model_type": ("siglip",)}, ("model_type",))
    return read_text(Config, {**_text(config), "dim": _dim(config)}, "siglip_text_model")


def read_image(config: Mapping[str, Any]) -> ImageConfig:
    """Read and check the image tower's numbers; raises for values that are not implemented."""
    tower = read_tower(complete(config, "vision_config", VISION), "siglip_vision_model")
    if tower.hidden_size != (dim := _dim(config)):
        raise CorruptModelError(
            f"config.json: vectors of images have hidden_size={tower.hidden_size} numbers, those of texts {dim}"
        )
    return ImageConfig(tower=tower, dim=dim)


def image_unused(config: ImageConfig) -> tuple[str, ...]:
    """List how the names of tensors begin that are not read: the text part, and what training alone needs."""
    return IMAGE_UNUSED


def text_values(config: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the text tower's values, complete, and the length of a vector."""
    return {**_text(config), "embed_dim": _dim(config)}


def own_values(config: Mapping[str, Any], tokenizer: Mapping[str, Any]) -> dict[str, Any]:
    """Return keys of edge_embed.json: `last` is the row of the last place, mostly that of a token that fills up.

    Raises UnsupportedModelError for texts that were filled up at their beginning.
    """
    if (side := tokenizer.get("padding_side", "right")) != "right":
        raise UnsupportedModelError(
            f"tokenizer_config.json: padding_side={shown(side)} is not implemented for SigLIP; 'right' is"
        )
    token = tokenizer.get("pad_token")
    token = token.get("content") if isinstance(token, dict) else token
    default = FILLERS.get(str(tokenizer.get("tokenizer_class")), FILLER)
    return {
        "pooling": "last",
        "fill": {"token": token or default, "length": whole(_text(config), "max_position_embeddings")},
        "lower_case": tokenizer.get("do_lower_case") is not False,
    }


def _text(config: Mapping[str, Any]) -> dict[str, Any]:
    return complete(config, "text_config", TEXT)


def _dim(config: Mapping[str, Any]) -> int:
    text = _text(config)
    return whole(text, "projection_size", whole(text, "hidden_size"))
