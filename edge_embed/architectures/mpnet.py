"""MPNet (Song et al. 2020, arXiv 2004.09297): BERT with positions relative to one another, too; all-mpnet-base-v2.

Models: all-mpnet-base-v2, multi-qa-mpnet-base-cos-v1, paraphrase-mpnet-base-v2.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from ._bert import Learned as Config
from ._bert import Names, read_untyped
from ._bert import with_positions as _with_positions
from ._checks import check_config

__all__ = ["ATTENTION", "NAMES", "PREFIXES", "TABLE", "UNUSED", "Config", "buckets", "read", "text_values"]

ATTENTION: Final = "full"
PREFIXES = ("mpnet.",)
UNUSED = ("pooler.", "lm_head.", "classifier.", "embeddings.position_ids")
TABLE = "word_embeddings"
NAMES = Names(
    query="attention.attn.q",
    key="attention.attn.k",
    value="attention.attn.v",
    attended="attention.attn.o",
    attention_norm="attention.LayerNorm",
)
FIRST = 2  # the row of the first token's position, in transformers' code, whatever pad_token_id says
BUCKETS, FURTHEST = 32, 128  # distances share 32 biases, and from 128 tokens on the last two


def read(config: Mapping[str, Any]) -> Config:
    """Read and check the values."""
    check_config(config, {"relative_attention_num_buckets": (BUCKETS,)}, ())
    return read_untyped(config, FIRST)


def text_values(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return config.json's values with as many positions as tokens can have."""
    return {
        **_with_positions({**config, "pad_token_id": FIRST - 1}),
        "pad_token_id": config.get("pad_token_id", FIRST - 1),
    }


def buckets(tokens: int) -> NDArray[np.int64]:
    """Return which bias a key has that is 1 - tokens, ..., tokens - 1 places after its query: (2 * tokens - 1,).

    As T5's (Raffel et al. 2019, arXiv 1910.10683), to both sides: half of the biases for each, and of those one half
    for a distance each and the other for ever wider ones.
    """
    side, exact = BUCKETS // 2, BUCKETS // 4
    offset = np.arange(1 - tokens, tokens)
    distance = np.abs(offset)
    share = np.log(np.maximum(distance, 1).astype(np.float32) / np.float32(exact)) / np.float32(
        math.log(FURTHEST / exact)
    )
    wide = np.minimum(exact + (share * np.float32(side - exact)).astype(np.int64), side - 1)
    bucket: NDArray[np.int64] = np.where(offset > 0, side, 0) + np.where(distance < exact, distance, wide)
    return bucket
