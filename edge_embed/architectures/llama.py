"""Llama (Touvron et al. 2023, arXiv 2302.13971): causal; the language model of E5-V.

Models: the language model of e5-v.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from ._llama import PREFIXES, TABLE, UNUSED, Config, read_llama

__all__ = ["ATTENTION", "PREFIXES", "TABLE", "UNUSED", "Config", "read"]

ATTENTION: Final = "causal"


def read(config: Mapping[str, Any]) -> Config:
    """Read and check the numbers."""
    return read_llama(config, attention=ATTENTION)
