"""CLIP (Radford et al. 2021, arXiv 2103.00020) as transformers' CLIPModel computes it.

A text is read up to its closing token, whose row is projected: no token sees what stands behind it, so that this is the
whole of what transformers computes of that row.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

import numpy as np
from onnx import TensorProto

from edge_embed.architectures._clip import ImageConfig, Layers
from edge_embed.architectures.clip import IMAGE_PREFIXES, OUTPUTS, PREFIXES, UNUSED, Config, image_unused
from edge_embed.backends.onnx.names import IMAGE_ROW, ONE_ROW
from edge_embed.errors import UnsupportedModelError
from edge_embed.spec.model import Pooling

from ...checkpoint.smooth import Pair
from ...checkpoint.source import Array, Reader
from ..builder import Builder
from ..levels import linear
from . import _apart, _clip
from ._rows import Pick, first_row, take_row

TEXT, VISION = "text_model.", "vision_model."
HEAD = 8


def build(b: Builder, config: Config, tensors: Mapping[str, Array], pooling: Pooling) -> tuple[str, str]:
    """Add the graph of the text tower and its projection; raise UnsupportedModelError for heads of an odd size.

    In standard operators, whose attention is told of padding alone, the last layer computes every row.
    """
    if b.fused and (size := config.hidden_size // config.num_attention_heads) % HEAD:
        raise UnsupportedModelError(
            f"config.json: text_config has heads of {size} numbers, and ONNX Runtime's causal attention takes a "
            f"multiple of {HEAD}: convert to MLX instead"
        )
    read = Reader(tensors, PREFIXES)
    last = _closing_place(b, config)
    length = b.node("Add", last, b.constant(1, np.int64))
    pick = partial(take_row, b, row=last)
    x = _clip.embeddings(b, read, config, TEXT)
    x = _clip.stack(b, read, config, TEXT, x, partial(_attend, length=length), pick if b.fused else None)
    x = x if b.fused else pick(x)
    x = _clip.norm(b, read, config, f"{TEXT}final_layer_norm", x)
    x = linear(b, x, "text_projection", read("text_projection.weight", config.dim, config.hidden_size))
    read.check_all_taken(UNUSED)
    x = b.node("Squeeze", x, b.constant([1], np.int64))
    b.output(x, OUTPUTS["text"][0], ["batch", config.dim])
    return x, ONE_ROW


def build_image(b: Builder, config: ImageConfig, tensors: Mapping[str, Array]) -> tuple[str, str]:
    """Add the image tower and its projection: `pixel_values` (batch, 3, height, width) -> IMAGE_ROW."""
    read, tower = Reader(tensors, IMAGE_PREFIXES), config.tower
    x = _clip.hidden_state(b, tower, read, tower.num_hidden_layers, VISION, partial(first_row, b))
    x = _clip.norm(b, read, tower, f"{VISION}post_layernorm", x)
    x = linear(b, x, "visual_projection", read("visual_projection.weight", config.dim, tower.hidden_size))
    read.check_all_taken(image_unused(config))
    return b.node("Squeeze", x, b.constant([1], np.int64)), IMAGE_ROW


def smooth_pairs(config: Config, tensors: Mapping[str, Array]) -> list[Pair]:
    """List what makes the channels that the text tower's linear layers read."""
    return _clip.smooth_pairs(config, TEXT, ("final_layer_norm", "text_projection"))


def smooth_image_pairs(config: ImageConfig, tensors: Mapping[str, Array]) -> list[Pair]:
    """List what makes the channels that the image tower's linear layers read."""
    return _clip.smooth_pairs(config.tower, VISION, ("post_layernorm", "visual_projection"))


def _closing_place(b: Builder, config: Config) -> str:
    """Return the place of each text's first closing token, int64 (batch,); what pads a text has the id 0."""
    ids = "input_ids"
    if config.closing_token is not None:
        same = b.node("Equal", ids, b.constant(config.closing_token, np.int64))
        ids = b.node("Cast", same, to=TensorProto.INT32)
    return b.node("ArgMax", ids, axis=1, keepdims=0)


def _attend(b: Builder, read: Reader, shape: Layers, at: str, x: str, pick: Pick | None, length: str) -> str:
    """Attend from each token to itself and those before it, or from the closing one to all up to it."""
    *parts, biases = _clip.products(b, read, shape, at, x, pick)
    q, k, v = (
        b.node("Add", part, b.weight(f"{at}{name}_proj.bias", bias))
        for name, part, bias in zip("qkv", parts, biases, strict=True)
    )
    heads = shape.num_attention_heads
    if pick is None:
        return _apart.attend_causal(b, heads, heads, q, k, v, length, at)
    return _apart.attend(b, heads, q, k, v, length, at, one_row=True)
