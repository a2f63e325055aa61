"""EuroBERT (arXiv 2503.05500) as transformers' EuroBertModel computes it, full attention; v5-text-nano."""

from __future__ import annotations

from ._llama import FINER, PREFIXES, UNUSED, Config, Transformer, read

__all__ = ["FINER", "PREFIXES", "UNUSED", "Config", "Model", "read"]


class Model(Transformer):
    """Every row attends to all rows of its text."""

    def __init__(self, config: Config) -> None:
        super().__init__(config, qk_norm=False, causal=False)
