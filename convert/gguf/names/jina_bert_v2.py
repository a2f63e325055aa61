"""JinaBERT-v2 in llama.cpp."""

from ._post_norm import entries, metadata

__all__ = ["NAME", "entries", "metadata"]

NAME = "jina-bert-v2"
