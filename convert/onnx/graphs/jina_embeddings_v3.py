"""jina-embeddings-v3 (Sturua et al. 2024, arXiv 2409.10173), one task merged."""

from __future__ import annotations

from functools import partial

from edge_embed.architectures import jina_embeddings_v3

from . import _post_norm
from ._post_norm import smooth_pairs

__all__ = ["build", "smooth_pairs"]

build = partial(_post_norm.build, known=jina_embeddings_v3)
