"""jina-embeddings-v3 in llama.cpp, one task merged; its own converter writes the tasks' factors into files apart."""

from ._post_norm import entries, metadata

__all__ = ["NAME", "entries", "metadata"]

NAME = "jina-bert-v3"
