"""DistilBERT (Sanh et al. 2019, arXiv 1910.01108)."""

from __future__ import annotations

from functools import partial

from edge_embed.architectures import distilbert

from . import _bert
from ._bert import smooth_pairs

__all__ = ["build", "smooth_pairs"]

build = partial(_bert.build, known=distilbert)
