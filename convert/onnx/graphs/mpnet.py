"""MPNet (Song et al. 2020, arXiv 2004.09297): each distance of two tokens has a bias in every head, in all layers."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from edge_embed.architectures.mpnet import BUCKETS, NAMES, PREFIXES, UNUSED, Config, buckets
from edge_embed.spec.model import Pooling

from ...checkpoint.source import Array, Reader
from ..builder import Builder
from . import _bert
from ._bert import smooth_pairs

__all__ = ["build", "smooth_pairs"]


def build(b: Builder, config: Config, tensors: Mapping[str, Array], pooling: Pooling) -> tuple[str, str]:
    """Add the graph of all layers; every row of the last one is kept, whatever the pooling."""
    read = Reader(tensors, PREFIXES)
    built = _bert.build(b, config, read, NAMES, _biases(b, config, read))
    read.check_all_taken(UNUSED)
    return built


def _biases(b: Builder, config: Config, read: Reader) -> str:
    """Look up the bias of each query's distance to each key: (1, heads, tokens, tokens)."""
    most = config.positions
    of_bucket = read("encoder.relative_attention_bias.weight", BUCKETS, config.num_attention_heads)
    of_offset = b.weight("relative.bias", np.ascontiguousarray(of_bucket[buckets(most)].T)[None])
    tokens = b.node("Squeeze", b.node("Shape", "input_ids", start=1, end=2))
    place = b.node("Range", b.constant(0, np.int64), tokens, b.constant(1, np.int64))
    offset = b.node("Sub", place, b.node("Unsqueeze", place, b.constant([1], np.int64)))
    return b.node("Gather", of_offset, b.node("Add", offset, b.constant(most - 1, np.int64)), axis=2)
