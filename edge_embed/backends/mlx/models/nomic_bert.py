"""NomicBERT (Nussbaum et al. 2024, arXiv 2402.01613)."""

from ._post_norm import SENSITIVE_LAYERS, Model

__all__ = ["SENSITIVE_LAYERS", "Model"]
