"""Mistral in llama.cpp, where it is a Llama; without the LM head."""

from __future__ import annotations

from .llama import NAME, entries, metadata

__all__ = ["NAME", "entries", "metadata"]
