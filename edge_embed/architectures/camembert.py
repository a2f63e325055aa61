"""CamemBERT (Martin et al. 2019, arXiv 1911.03894): RoBERTa by another name.

Models: sentence-camembert-base and large.
"""

from __future__ import annotations

from .roberta import ATTENTION, NAMES, PREFIXES, TABLE, UNUSED, Config, read, text_values

__all__ = ["ATTENTION", "NAMES", "PREFIXES", "TABLE", "UNUSED", "Config", "read", "text_values"]
