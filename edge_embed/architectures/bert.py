"""BERT (Devlin et al. 2018, arXiv 1810.04805): learned positions, norms after each addition; all-MiniLM-L6-v2."""

from __future__ import annotations

from typing import Final

from ._bert import Learned as Config
from ._bert import Names
from ._bert import read_bert as read

__all__ = ["ATTENTION", "NAMES", "PREFIXES", "TABLE", "UNUSED", "Config", "read"]

ATTENTION: Final = "full"
PREFIXES = ("bert.",)
UNUSED = ("pooler.", "cls.", "embeddings.position_ids")  # heads, and a table of 0, 1, 2, ...
TABLE = "word_embeddings"
NAMES = Names()
