"""XLM-RoBERTa (Conneau et al. 2019, arXiv 1911.02116): RoBERTa by another name."""

from .roberta import SENSITIVE_LAYERS, Model

__all__ = ["SENSITIVE_LAYERS", "Model"]
