"""CamemBERT (Martin et al. 2019, arXiv 1911.03894): RoBERTa by another name."""

from .roberta import build, smooth_pairs

__all__ = ["build", "smooth_pairs"]
