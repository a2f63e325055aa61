"""JinaBERT-v2 (Günther et al. 2023, arXiv 2310.19923)."""

from ._post_norm import SENSITIVE_LAYERS, Model

__all__ = ["SENSITIVE_LAYERS", "Model"]
