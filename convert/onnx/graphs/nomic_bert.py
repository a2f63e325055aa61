"""NomicBERT (Nussbaum et al. 2024, arXiv 2402.01613)."""

from __future__ import annotations

from functools import partial

from edge_embed.architectures import nomic_bert

from . import _post_norm
from ._post_norm import smooth_pairs

__all__ = ["build", "smooth_pairs"]

build = partial(_post_norm.build, known=nomic_bert)
