"""edge_embed_convert: a checkpoint in safetensors -> verified artefacts for edge_embed and others. No PyTorch."""

from __future__ import annotations

from .conversion import convert

__all__ = ["convert"]
