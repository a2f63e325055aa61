"""DistilBERT (Sanh et al. 2019, arXiv 1910.01108)."""

from __future__ import annotations

from collections.abc import Mapping

from edge_embed.architectures.distilbert import NAMES, PREFIXES, UNUSED, Config
from edge_embed.spec.model import Pooling

from ...checkpoint.source import Array, Reader
from ..builder import Builder
from . import _bert
from ._bert import smooth_pairs

__all__ = ["build", "smooth_pairs"]


def build(b: Builder, config: Config, tensors: Mapping[str, Array], pooling: Pooling) -> tuple[str, str]:
    """Add the graph of all layers; every row of the last one is kept, whatever the pooling."""
    read = Reader(tensors, PREFIXES)
    built = _bert.build(b, config, read, NAMES)
    read.check_all_taken(UNUSED)
    return built
