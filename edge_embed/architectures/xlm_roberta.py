"""XLM-RoBERTa (Conneau et al. 2019, arXiv 1911.02116): RoBERTa by another name.

Models: bge-m3 (its dense vectors), multilingual-e5-base, large and large-instruct, snowflake-arctic-embed-l-v2.0,
paraphrase-multilingual-mpnet-base-v2, granite-embedding-107m-multilingual and 278m-multilingual.
"""

from __future__ import annotations

from .roberta import ATTENTION, NAMES, PREFIXES, TABLE, UNUSED, Config, read, text_values

__all__ = ["ATTENTION", "NAMES", "PREFIXES", "TABLE", "UNUSED", "Config", "read", "text_values"]
