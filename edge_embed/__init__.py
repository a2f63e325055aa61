"""Text to embedding vectors on the user's own device. Imports little until a model is opened."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .errors import (
    BackendError,
    CorruptModelError,
    EdgeEmbedError,
    FallbackWarning,
    InputError,
    MemoryWarning,
    MissingDependencyError,
    ModelError,
    ModelNotFoundError,
    OutOfMemoryError,
    QualityWarning,
    RepositoryAbsentError,
    SelfTestError,
    TruncationWarning,
    UnsupportedModelError,
    VerificationError,
)
from .spec.model import ModelSpec

if TYPE_CHECKING:
    from .embedder import Embedder

__version__ = "0.1.0"

__all__ = [
    "BackendError",
    "CorruptModelError",
    "EdgeEmbedError",
    "Embedder",
    "FallbackWarning",
    "InputError",
    "MemoryWarning",
    "MissingDependencyError",
    "ModelError",
    "ModelNotFoundError",
    "ModelSpec",
    "OutOfMemoryError",
    "QualityWarning",
    "RepositoryAbsentError",
    "SelfTestError",
    "TruncationWarning",
    "UnsupportedModelError",
    "VerificationError",
]


def __getattr__(name: str) -> Any:
    """Import Embedder, and with it the tokenizer, when it is first asked for."""
    if name == "Embedder":
        from .embedder import Embedder

        return Embedder
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
