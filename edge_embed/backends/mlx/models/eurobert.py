"""EuroBERT (arXiv 2503.05500) as transformers' EuroBertModel computes it, full attention; v5-text-nano."""

from __future__ import annotations

from ._llama import SENSITIVE_LAYERS
from ._llama import Transformer as Model

__all__ = ["SENSITIVE_LAYERS", "Model"]
