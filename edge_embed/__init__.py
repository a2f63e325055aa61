"""Text and images to embedding vectors on the user's own device. Imports nothing heavy until a name asks for it."""

from __future__ import annotations

import importlib
import sys
from typing import TYPE_CHECKING, Any

from .errors import (
    AcceptedLossWarning,
    BackendError,
    CorruptModelError,
    EdgeEmbedError,
    FallbackWarning,
    InputError,
    MemoryWarning,
    MissingDependencyError,
    ModelError,
    ModelNotFoundError,
    NoWeightsError,
    OutOfMemoryError,
    QualityWarning,
    RepositoryAbsentError,
    SearchIndexError,
    SelfTestError,
    TruncationWarning,
    UnsupportedMachineError,
    UnsupportedModelError,
    VerificationError,
)

if TYPE_CHECKING:
    from edge_embed.images.sources import UNTRUSTED, ImageSources
    from edge_embed.spec.model import ModelSpec

    from .batching.async_embedder import AsyncEmbedder
    from .compat import Compatibility, compare
    from .embedder import Embedder
    from .notebooks.similarity import show_similarity
    from .search.hits import SearchHit
    from .search.index import Index
    from .vectors import hamming, normalize, quantize, search_binary, similarity, similarity_pairwise, unpack

__version__ = "0.2.0"

__all__ = [
    "UNTRUSTED",
    "AcceptedLossWarning",
    "AsyncEmbedder",
    "BackendError",
    "Compatibility",
    "CorruptModelError",
    "EdgeEmbedError",
    "Embedder",
    "FallbackWarning",
    "ImageSources",
    "Index",
    "InputError",
    "MemoryWarning",
    "MissingDependencyError",
    "ModelError",
    "ModelNotFoundError",
    "ModelSpec",
    "NoWeightsError",
    "OutOfMemoryError",
    "QualityWarning",
    "RepositoryAbsentError",
    "SearchHit",
    "SearchIndexError",
    "SelfTestError",
    "TruncationWarning",
    "UnsupportedMachineError",
    "UnsupportedModelError",
    "VerificationError",
    "compare",
    "hamming",
    "normalize",
    "quantize",
    "search_binary",
    "show_similarity",
    "similarity",
    "similarity_pairwise",
    "unpack",
]

if sys.maxsize < 1 << 32:  # whatever the kernel has: 32-bit systems of a Raspberry Pi run a 64-bit one
    raise UnsupportedMachineError(
        f"edge_embed needs a 64-bit Python, and {sys.executable} has 32 bits: no engine has packages for it. On a "
        "Raspberry Pi (3 and later, Zero 2) write the 64-bit Raspberry Pi OS to the card; elsewhere install a 64-bit "
        "Python"
    )

_LAZY = {
    "UNTRUSTED": "images.sources",
    "AsyncEmbedder": "batching.async_embedder",
    "Compatibility": "compat",
    "Embedder": "embedder",
    "ImageSources": "images.sources",
    "Index": "search.index",
    "ModelSpec": "spec.model",
    "SearchHit": "search.hits",
    "compare": "compat",
    "hamming": "vectors",
    "normalize": "vectors",
    "quantize": "vectors",
    "search_binary": "vectors",
    "show_similarity": "notebooks.similarity",
    "similarity": "vectors",
    "similarity_pairwise": "vectors",
    "unpack": "vectors",
}  # the module of each name that brings NumPy, or more, with it


def __getattr__(name: str) -> Any:
    """Import a name's module when it is first asked for."""
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(importlib.import_module(f".{_LAZY[name]}", __name__), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
