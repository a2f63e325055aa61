"""BERT (Devlin et al. 2018, arXiv 1810.04805)."""

from __future__ import annotations

from functools import partial

from edge_embed.architectures import bert

from . import _bert
from ._bert import smooth_pairs

__all__ = ["build", "smooth_pairs"]

build = partial(_bert.build, known=bert)
