"""SigLIP (Zhai et al. 2023, arXiv 2303.15343) and SigLIP 2, as transformers' SiglipModel computes them.

Texts are all of one length, since they come filled up, and no token of them is padding. An image's rows are pooled by
one that asks them all, and is learned (the MAP head of Zhai et al. 2022, arXiv 2106.04560).
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

import numpy as np

from edge_embed.architectures._clip import ImageConfig, Tower
from edge_embed.architectures.siglip import IMAGE_PREFIXES, OUTPUTS, PREFIXES, UNUSED, Config, image_unused
from edge_embed.backends.onnx.names import IMAGE_ROW, ONE_ROW
from edge_embed.spec.model import Pooling

from ...checkpoint.smooth import Pair
from ...checkpoint.source import Array, Reader
from ..builder import MICROSOFT, Builder
from ..levels import linear, linear_with_bias
from . import _clip
from ._patches import patches
from ._rows import last_row

TEXT, VISION = "text_model.", "vision_model."


def build(b: Builder, config: Config, tensors: Mapping[str, Array], pooling: Pooling) -> tuple[str, str]:
    """Add the graph of the text tower and its head, which `attention_mask` does not change."""
    read, dim = Reader(tensors, PREFIXES), config.hidden_size
    x = _clip.embeddings(b, read, config, TEXT)
    x = _clip.stack(b, read, config, TEXT, x, _clip.attend, partial(last_row, b))
    x = _clip.norm(b, read, config, f"{TEXT}final_layer_norm", x)
    x = linear_with_bias(b, read, f"{TEXT}head", x, config.dim, dim)
    read.check_all_taken(UNUSED)
    x = b.node("Squeeze", x, b.constant([1], np.int64))
    b.output(x, OUTPUTS["text"][-1], ["batch", config.dim])
    return x, ONE_ROW


def build_image(b: Builder, config: ImageConfig, tensors: Mapping[str, Array]) -> tuple[str, str]:
    """Add the image tower and its head: `pixel_values` (batch, 3, height, width) -> IMAGE_ROW."""
    read, tower = Reader(tensors, IMAGE_PREFIXES), config.tower
    dim, patch = tower.hidden_size, tower.patch_size
    x = patches(
        b,
        read(f"{VISION}embeddings.patch_embedding.weight", dim, 3, patch, patch),
        read(f"{VISION}embeddings.patch_embedding.bias", dim),
        None,
        read(f"{VISION}embeddings.position_embedding.weight", tower.patches, dim),
    )
    x = _clip.stack(b, read, tower, VISION, x, _clip.attend)
    x = _head(b, read, tower, f"{VISION}head.", _clip.norm(b, read, tower, f"{VISION}post_layernorm", x))
    read.check_all_taken(image_unused(config))
    x = b.node("Squeeze", x, b.constant([1], np.int64))
    b.output(x, OUTPUTS["image"][-1], ["batch", config.dim])
    return x, IMAGE_ROW


def smooth_pairs(config: Config, tensors: Mapping[str, Array]) -> list[Pair]:
    """List what makes the channels that the text tower's linear layers read."""
    return _clip.smooth_pairs(config, TEXT, ("final_layer_norm", f"{TEXT}head"))


def smooth_image_pairs(config: ImageConfig, tensors: Mapping[str, Array]) -> list[Pair]:
    """List what makes the channels that the image tower's linear layers read, up to its head, which has a query too."""
    return _clip.smooth_pairs(config.tower, VISION, None)


def _head(b: Builder, read: Reader, tower: Tower, at: str, x: str) -> str:
    """Attend from the one learned row to all, and add an MLP: (batch, 1, dim). Its query is a constant."""
    dim = tower.hidden_size
    weights = np.split(read(f"{at}attention.in_proj_weight", 3 * dim, dim), 3)
    biases = np.split(read(f"{at}attention.in_proj_bias", 3 * dim), 3)
    query = read(f"{at}probe", 1, 1, dim) @ weights[0].T + biases[0]
    batch = b.node("Shape", x, start=0, end=1)
    each = b.node("Concat", batch, b.constant([1, dim], np.int64), axis=0)
    q = b.node("Expand", b.weight(f"{at}query", query), each)
    both = linear(b, x, f"{at}kv", np.concatenate(weights[1:]))
    both = b.node("Add", both, b.weight(f"{at}kv.bias", np.concatenate(biases[1:])))
    k, v = b.nodes("Split", both, outputs=2, axis=-1, num_outputs=2)
    attended = b.node("MultiHeadAttention", q, k, v, domain=MICROSOFT, num_heads=tower.num_attention_heads)
    x = linear_with_bias(b, read, f"{at}attention.out_proj", attended, dim, dim)
    return b.node("Add", x, _clip.mlp(b, read, tower, f"{at}mlp.", _clip.norm(b, read, tower, f"{at}layernorm", x)))
