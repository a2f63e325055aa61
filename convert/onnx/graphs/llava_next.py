"""LLaVA-NeXT (Liu et al. 2024) over Llama, as transformers computes it without its LM head; E5-V (arXiv 2407.12580).

The text part is the language model, which may be fed an image's rows among its tokens. The image part makes them: a
CLIP tower up to one of its last layers, without the class token's row, and a projector of two layers. Which tiles a
image becomes, and in which order their rows are read, is the runtime's part (edge_embed/images/tiles.py).
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from edge_embed.architectures._clip import unused
from edge_embed.architectures.llava_next import (
    HEADS,
    NEWLINE,
    NEWLINES,
    PREFIXES,
    PROJECTOR,
    TOWER,
    UNUSED,
    Config,
    ImageConfig,
)
from edge_embed.backends.onnx import names
from edge_embed.spec.model import Pooling

from ...checkpoint.smooth import Pair
from ...checkpoint.source import Array, Reader
from ..builder import Builder
from ..levels import linear_with_bias, linear_without_bias
from . import _llama
from ._clip import activation, hidden_state
from ._llama import transformer


def build(b: Builder, config: Config, tensors: Mapping[str, Array], pooling: Pooling) -> tuple[str, str]:
    """Add the graph of the language model."""
    return transformer(b, config, Reader(tensors, PREFIXES), pooling, images=True, unused=UNUSED)


def smooth_pairs(config: Config, tensors: Mapping[str, Array]) -> list[Pair]:
    """List what makes the channels that the language model's linear layers read."""
    return _llama.smooth_pairs(config, tensors, PREFIXES)


def build_image(b: Builder, config: ImageConfig, tensors: Mapping[str, Array]) -> tuple[str, str]:
    """Add the tower and the projector: `pixel_values` (tiles, 3, height, width) -> FEATURES, and the newline.

    Layers after `vision_feature_layer` are neither computed nor stored.
    """
    width, dim = config.tower.hidden_size, config.dim
    tower = Reader(tensors, TOWER)
    x = hidden_state(b, config.tower, tower, config.layers)
    tower.check_all_taken((*unused(config.tower, config.layers), *PREFIXES, *HEADS, *PROJECTOR, *NEWLINES))
    one, end = b.constant([1], np.int64), b.constant([np.iinfo(np.int64).max], np.int64)
    x = b.node("Slice", x, one, end, one)  # without the class token
    projector = Reader(tensors, PROJECTOR)
    project = linear_with_bias if config.projector_bias else linear_without_bias
    x = activation(b, "gelu", project(b, projector, "linear_1", x, dim, width))
    x = project(b, projector, "linear_2", x, dim, dim)
    projector.check_all_taken((*PREFIXES, *HEADS, *TOWER, *NEWLINES))
    newline = Reader(tensors, ("model.",))(NEWLINE, dim)
    b.output(b.weight("newline", newline), names.NEWLINE, [dim])
    return x, names.FEATURES
