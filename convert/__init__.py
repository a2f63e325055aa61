"""edge_embed_convert: a checkpoint in safetensors -> verified artefacts that edge_embed and others can run. No PyTorch."""

from __future__ import annotations

from .artefacts import convert

__all__ = ["convert"]
