"""CamemBERT (Martin et al. 2019, arXiv 1911.03894): RoBERTa by another name."""

from .roberta import SENSITIVE_LAYERS, Model

__all__ = ["SENSITIVE_LAYERS", "Model"]
