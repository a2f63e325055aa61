"""Qwen3 (arXiv 2505.09388) as transformers' Qwen3Model computes it, no LM head; v5-text-small, Qwen3-Embedding."""

from __future__ import annotations

from ._llama import FINER, PREFIXES, UNUSED, Config, Transformer, read

__all__ = ["FINER", "PREFIXES", "UNUSED", "Config", "Model", "read"]


class Model(Transformer):
    """Causal, with normalised queries and keys."""

    def __init__(self, config: Config) -> None:
        super().__init__(config, qk_norm=True, causal=True)
