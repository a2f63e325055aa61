"""JinaBERT-v2 (Günther et al. 2023, arXiv 2310.19923)."""

from __future__ import annotations

from functools import partial

from edge_embed.architectures import jina_bert_v2

from . import _post_norm
from ._post_norm import smooth_pairs

__all__ = ["build", "smooth_pairs"]

build = partial(_post_norm.build, known=jina_bert_v2)
