"""jina-clip-v1 (Koukounas et al. 2024, arXiv 2405.20204): the text tower, JinaBERT-v2. _eva02.py has the other."""

from ._eva02 import ImageModel
from ._post_norm import SENSITIVE_LAYERS, Model

__all__ = ["SENSITIVE_LAYERS", "ImageModel", "Model"]
