"""RoBERTa (Liu et al. 2019, arXiv 1907.11692): BERT whose positions begin further on."""

from .bert import SENSITIVE_LAYERS, Model

__all__ = ["SENSITIVE_LAYERS", "Model"]
