"""Qwen3 (arXiv 2505.09388) as transformers' Qwen3Model computes it, no LM head; v5-text-small, Qwen3-Embedding."""

from __future__ import annotations

from ._llama import SENSITIVE_LAYERS
from ._llama import Transformer as Model

__all__ = ["SENSITIVE_LAYERS", "Model"]
