"""jina-clip-v1 (Koukounas et al. 2024, arXiv 2405.20204): the text tower, JinaBERT-v2. _eva02.py has the other."""

from __future__ import annotations

from functools import partial

from edge_embed.architectures import jina_clip

from . import _post_norm
from ._eva02 import build_image, smooth_image_pairs
from ._post_norm import smooth_pairs

__all__ = ["build", "build_image", "smooth_image_pairs", "smooth_pairs"]

build = partial(_post_norm.build, known=jina_clip)
