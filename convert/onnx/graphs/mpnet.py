"""MPNet (Song et al. 2020, arXiv 2004.09297): each distance of two tokens has a bias in every head, in all layers."""

from __future__ import annotations

from functools import partial

import numpy as np

from edge_embed.architectures import mpnet
from edge_embed.architectures.mpnet import BUCKETS, Config, buckets

from ...checkpoint.source import Reader
from ..builder import Builder
from . import _bert
from ._bert import smooth_pairs

__all__ = ["build", "smooth_pairs"]


def _biases(b: Builder, config: Config, read: Reader) -> str:
    """Look up the bias of each query's distance to each key: (1, heads, tokens, tokens)."""
    most = config.positions
    of_bucket = read("encoder.relative_attention_bias.weight", BUCKETS, config.num_attention_heads)
    of_offset = b.weight("relative.bias", np.ascontiguousarray(of_bucket[buckets(most)].T)[None])
    tokens = b.node("Squeeze", b.node("Shape", "input_ids", start=1, end=2))
    place = b.node("Range", b.constant(0, np.int64), tokens, b.constant(1, np.int64))
    offset = b.node("Sub", place, b.node("Unsqueeze", place, b.constant([1], np.int64)))
    return b.node("Gather", of_offset, b.node("Add", offset, b.constant(most - 1, np.int64)), axis=2)


build = partial(_bert.build, known=mpnet, biases=_biases)
