"""Llama (Touvron et al. 2023, arXiv 2302.13971) as transformers' LlamaModel computes it, no LM head."""

from __future__ import annotations

from ._llama import SENSITIVE_LAYERS
from ._llama import Transformer as Model

__all__ = ["SENSITIVE_LAYERS", "Model"]
