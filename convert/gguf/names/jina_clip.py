"""jina-clip-v1's text tower in llama.cpp, a JinaBERT-v2."""

from .jina_bert_v2 import NAME, entries, metadata

__all__ = ["NAME", "entries", "metadata"]
