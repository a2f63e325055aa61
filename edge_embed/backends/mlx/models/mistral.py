"""Mistral (arXiv 2310.06825) as transformers' MistralModel computes it within its window; e5-mistral."""

from __future__ import annotations

from ._llama import SENSITIVE_LAYERS
from ._llama import Transformer as Model

__all__ = ["SENSITIVE_LAYERS", "Model"]
