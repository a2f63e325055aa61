"""jina-embeddings-v3 (Sturua et al. 2024, arXiv 2409.10173), one task merged."""

from ._post_norm import SENSITIVE_LAYERS, Model

__all__ = ["SENSITIVE_LAYERS", "Model"]
