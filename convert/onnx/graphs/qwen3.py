"""Qwen3 (arXiv 2505.09388) as transformers' Qwen3Model computes it, no LM head; v5-text-small, Qwen3-Embedding."""

from __future__ import annotations

from collections.abc import Mapping

from edge_embed.architectures.qwen3 import PREFIXES, Config
from edge_embed.spec.model import Pooling

from ...checkpoint.source import Array, Reader
from ..builder import Builder
from ._llama import smooth_pairs, transformer

__all__ = ["build", "smooth_pairs"]


def build(b: Builder, config: Config, tensors: Mapping[str, Array], pooling: Pooling) -> tuple[str, str]:
    """Add the graph of all layers."""
    return transformer(b, config, Reader(tensors, PREFIXES), pooling)
