"""RoBERTa (Liu et al. 2019, arXiv 1907.11692): BERT whose positions begin after the padding token's id.

all-distilroberta-v1, and under the names of XLM-RoBERTa and CamemBERT multilingual-e5, bge-m3's dense vectors,
arctic-embed-l-v2.0.

Models: all-distilroberta-v1, granite-embedding-30m-english and 125m-english.
"""

from __future__ import annotations

from typing import Final

from ._bert import Learned as Config
from ._bert import Names
from ._bert import read_roberta as read
from ._bert import with_positions as text_values

__all__ = ["ATTENTION", "NAMES", "PREFIXES", "TABLE", "UNUSED", "Config", "read", "text_values"]

ATTENTION: Final = "full"
PREFIXES = ("roberta.",)
UNUSED = ("pooler.", "lm_head.", "classifier.", "embeddings.position_ids")  # heads, and a table of 0, 1, 2, ...
TABLE = "word_embeddings"
NAMES = Names()
