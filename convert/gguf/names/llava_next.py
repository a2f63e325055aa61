"""LLaVA-NeXT's language model, a Llama, in llama.cpp; E5-V. Images' rows come from the image part's own graph."""

from __future__ import annotations

from .llama import NAME, entries, metadata

__all__ = ["NAME", "entries", "metadata"]
