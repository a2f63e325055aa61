"""BERT (Devlin et al. 2018, arXiv 1810.04805): learned positions, norms after each addition; all-MiniLM-L6-v2."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Final

from . import _bert
from ._checks import check_config, check_heads, numbers

ATTENTION: Final = "full"
PREFIXES = ("bert.",)
UNUSED = ("pooler.", "cls.", "embeddings.position_ids")  # heads, and a table of 0, 1, 2, ...
TABLE = "word_embeddings"
ALLOWED = {
    "hidden_act": ("gelu", "gelu_new", "gelu_pytorch_tanh"),
    "position_embedding_type": ("absolute",),
    "is_decoder": (False,),
    "add_cross_attention": (False,),
}


@dataclass(frozen=True, kw_only=True)
class Config(_bert.Config):
    """The values that shape a model."""

    max_position_embeddings: int
    hidden_act: str = "gelu"


def read(config: Mapping[str, Any]) -> Config:
    """Read and check the values."""
    names = [field.name for field in fields(Config)]
    check_config(config, ALLOWED, [name for name in names if name != "hidden_act"])
    found = numbers(Config, config)
    check_heads(found.hidden_size, found.num_attention_heads)
    return found
