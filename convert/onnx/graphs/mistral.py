"""Mistral (arXiv 2310.06825) as transformers' MistralModel computes it within its window; e5-mistral."""

from __future__ import annotations

from collections.abc import Mapping

from edge_embed.architectures.mistral import PREFIXES, Config
from edge_embed.spec.model import Pooling

from ...checkpoint.source import Array, Reader
from ..builder import Builder
from ._llama import smooth_pairs, transformer

__all__ = ["build", "smooth_pairs"]


def build(b: Builder, config: Config, tensors: Mapping[str, Array], pooling: Pooling) -> tuple[str, str]:
    """Add the graph of all layers."""
    return transformer(b, config, Reader(tensors, PREFIXES), pooling)
