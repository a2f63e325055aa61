"""Qwen2 (arXiv 2407.10671) as transformers' Qwen2Model computes it, no LM head; KaLM-embedding-mini, gte-Qwen2."""

from __future__ import annotations

from ._llama import SENSITIVE_LAYERS
from ._llama import Transformer as Model

__all__ = ["SENSITIVE_LAYERS", "Model"]
