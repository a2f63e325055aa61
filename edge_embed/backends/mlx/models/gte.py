"""GTE (Zhang et al. 2024, arXiv 2407.19669)."""

from ._post_norm import SENSITIVE_LAYERS, Model

__all__ = ["SENSITIVE_LAYERS", "Model"]
