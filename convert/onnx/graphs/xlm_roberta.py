"""XLM-RoBERTa (Conneau et al. 2019, arXiv 1911.02116): RoBERTa by another name."""

from .roberta import build, smooth_pairs

__all__ = ["build", "smooth_pairs"]
