"""RoBERTa (Liu et al. 2019, arXiv 1907.11692)."""

from __future__ import annotations

from functools import partial

from edge_embed.architectures import roberta

from . import _bert
from ._bert import smooth_pairs

__all__ = ["build", "smooth_pairs"]

build = partial(_bert.build, known=roberta)
