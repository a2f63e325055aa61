"""EuroBERT (arXiv 2503.05500): every token attends to all of its text; v5-text-nano.

Models: jina-embeddings-v5-text-nano.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from ._llama import PREFIXES, TABLE, UNUSED, Config, read_llama

__all__ = ["ATTENTION", "PREFIXES", "TABLE", "UNUSED", "Config", "read"]

ATTENTION: Final = "full"


def read(config: Mapping[str, Any]) -> Config:
    """Read and check the numbers."""
    return read_llama(config, attention=ATTENTION)
