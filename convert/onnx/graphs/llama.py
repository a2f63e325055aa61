"""Llama (arXiv 2407.21783) as transformers' LlamaModel computes it, no LM head; the language model of E5-V."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from edge_embed.spec.model import Pooling

from ...checkpoint.source import Array, Reader
from ..builder import Builder
from ._llama import PREFIXES, shape_of, smooth_pairs, transformer

__all__ = ["ATTENTION", "build", "smooth_pairs"]

ATTENTION = "causal"


def build(b: Builder, config: Mapping[str, Any], tensors: Mapping[str, Array], pooling: Pooling) -> tuple[str, str]:
    """Add the graph of all layers."""
    return transformer(b, config, Reader(tensors, PREFIXES), shape_of(config, qk_norm=False, causal=True), pooling)
