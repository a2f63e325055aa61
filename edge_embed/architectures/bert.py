"""BERT (Devlin et al. 2018, arXiv 1810.04805): learned positions, norms after each addition; all-MiniLM-L6-v2.

Models: all-MiniLM-L6-v2 and L12-v2, multi-qa-MiniLM-L6-cos-v1, paraphrase-multilingual-MiniLM-L12-v2, e5-small, base
and large-v2, multilingual-e5-small, bge-small, base and large (en and zh), gte-small, base and large,
mxbai-embed-large-v1, snowflake-arctic-embed-xs, s, m and l, UAE-Large-V1.
"""

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
