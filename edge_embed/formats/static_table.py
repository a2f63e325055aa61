"""What the tensors of a static model are called, and which of them is the table."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

TABLES = ("embedding.weight", "embeddings")  # as sentence-transformers and as model2vec call it
MAPPING, TOKEN_WEIGHTS = "mapping", "weights"  # model2vec: which row of the table each token has, and which weight
T = TypeVar("T")


def table_of(tensors: Mapping[str, T]) -> T | None:
    """Return the table, or its description, among a file's tensors."""
    return next((tensors[name] for name in TABLES if name in tensors), None)
