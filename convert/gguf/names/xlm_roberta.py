"""XLM-RoBERTa (Conneau et al. 2019, arXiv 1911.02116) in llama.cpp: RoBERTa by another name."""

from .roberta import NAME, entries, metadata

__all__ = ["NAME", "entries", "metadata"]
