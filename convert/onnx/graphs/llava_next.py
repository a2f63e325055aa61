"""LLaVA-NeXT (Liu et al. 2024) over Llama, as transformers computes it without its LM head; E5-V (arXiv 2407.12580).

The text part is the language model, which may be fed a picture's rows among its tokens. The image part makes them: a
CLIP tower up to one of its last layers, without the class token's row, and a projector of two layers. Which tiles a
picture becomes, and in which order their rows are read, is the runtime's part (edge_embed/images/tiles.py).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from edge_embed.architectures.config import check_config
from edge_embed.architectures.llava_next import whole_config
from edge_embed.errors import UnsupportedModelError
from edge_embed.spec.model import Pooling

from ...checkpoint.smooth import Pair
from ...checkpoint.source import Array, Reader
from ..builder import IMAGE_FEATURES, Builder
from ..levels import linear
from . import _llama as onnx_blocks
from ._clip import activation, hidden_state, unused

ATTENTION = "causal"
ALLOWED = {
    "projector_hidden_act": ("gelu",),
    "vision_feature_select_strategy": ("default",),
}
ALLOWED_TEXT = {"model_type": ("llama",)}
NEWLINE = "image_newline"  # also what the graph's output is called
# As transformers up to 4.51 named tensors, and as it does since.
TEXT = ("language_model.model.", "model.language_model.")
TOWER = ("vision_tower.vision_model.", "model.vision_tower.vision_model.", "vision_tower.", "model.vision_tower.")
PROJECTOR = ("multi_modal_projector.", "model.multi_modal_projector.")
NEWLINES = (NEWLINE, f"model.{NEWLINE}")
HEADS = ("language_model.lm_head.", "lm_head.")


def build(b: Builder, config: Mapping[str, Any], tensors: Mapping[str, Array], pooling: Pooling) -> tuple[str, str]:
    """Add the graph of the language model."""
    text = _checked(config)["text_config"]
    shape = onnx_blocks.shape_of(text, qk_norm=False, causal=True)
    left = (*HEADS, *TOWER, *PROJECTOR, *NEWLINES)
    return onnx_blocks.transformer(b, text, Reader(tensors, TEXT), shape, pooling, pictures=True, unused=left)


def smooth_pairs(config: Mapping[str, Any], tensors: Mapping[str, Array]) -> list[Pair]:
    """List what makes the channels that the language model's linear layers read."""
    return onnx_blocks.smooth_pairs(_checked(config)["text_config"], tensors, TEXT)


def build_image(b: Builder, config: Mapping[str, Any], tensors: Mapping[str, Array]) -> tuple[str, str]:
    """Add the tower and the projector: `pixel_values` (tiles, 3, height, width) -> IMAGE_FEATURES, and the newline.

    Layers after `vision_feature_layer` are neither computed nor stored.
    """
    config = _checked(config)
    vision, dim = config["vision_config"], config["text_config"]["hidden_size"]
    layers = feature_layer(config)
    tower = Reader(tensors, TOWER)
    x = hidden_state(b, vision, tower, layers)
    tower.check_all_taken((*unused(vision, layers), *TEXT, *HEADS, *PROJECTOR, *NEWLINES))
    one, end = b.constant([1], np.int64), b.constant([np.iinfo(np.int64).max], np.int64)
    x = b.node("Slice", x, one, end, one)  # without the class token
    projector = Reader(tensors, PROJECTOR)
    x = _projected(b, config, projector, "linear_1", x, vision["hidden_size"])
    x = activation(b, config["projector_hidden_act"], x)
    x = _projected(b, config, projector, "linear_2", x, dim)
    projector.check_all_taken((*TEXT, *HEADS, *TOWER, *NEWLINES))
    newline = Reader(tensors, ("model.",))(NEWLINE, dim)
    b.output(b.weight("newline", newline), NEWLINE, [dim])
    return x, IMAGE_FEATURES


def feature_layer(config: Mapping[str, Any]) -> int:
    """Return after how many layers of the tower its rows are taken; `vision_feature_layer` counts from either end."""
    layer, layers = config["vision_feature_layer"], config["vision_config"]["num_hidden_layers"]
    if type(layer) is not int:
        raise UnsupportedModelError(f"config.json: vision_feature_layer={layer!r} is not implemented; one number is")
    if not -layers - 1 <= layer <= layers:
        raise UnsupportedModelError(
            f"config.json: vision_feature_layer={layer} is none of a tower of {layers} layers, 0 to {layers}, or from "
            f"the end -1 to {-layers - 1}"
        )
    return layer if layer >= 0 else layers + 1 + layer


def _checked(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the complete config; raise UnsupportedModelError for a value that is not implemented."""
    whole = whole_config(config)
    check_config(whole, ALLOWED, ())
    check_config(whole["text_config"], ALLOWED_TEXT, ("model_type",))
    return whole


def _projected(b: Builder, config: Mapping[str, Any], read: Reader, name: str, x: str, size: int) -> str:
    dim = config["text_config"]["hidden_size"]
    x = linear(b, x, f"projector.{name}", read(f"{name}.weight", dim, size))
    if not config["multimodal_projector_bias"]:
        return x
    return b.node("Add", x, b.weight(f"projector.{name}.bias", read(f"{name}.bias", dim)))
