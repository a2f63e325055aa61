"""Llama (Touvron et al. 2023, arXiv 2302.13971) as transformers' LlamaModel computes it, no LM head."""

from __future__ import annotations

from ._llama import FINER, PREFIXES, UNUSED, Config, Transformer, read

__all__ = ["FINER", "PREFIXES", "UNUSED", "Config", "Model", "read"]


class Model(Transformer):
    """Causal."""

    def __init__(self, config: Config) -> None:
        super().__init__(config, qk_norm=False, causal=True)
