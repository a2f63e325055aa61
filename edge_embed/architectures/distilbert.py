"""DistilBERT (Sanh et al. 2019, arXiv 1910.01108): BERT without types of tokens, its parts and numbers renamed.

Models: msmarco-distilbert-base-tas-b, multi-qa-distilbert-cos-v1.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from ._bert import ALLOWED, Names, read_untyped
from ._bert import Learned as Config
from ._checks import check_config

__all__ = ["ATTENTION", "NAMES", "PREFIXES", "TABLE", "UNUSED", "Config", "read", "text_values"]

ATTENTION: Final = "full"
PREFIXES = ("distilbert.",)
UNUSED = ("vocab_", "pre_classifier.", "classifier.", "qa_outputs.", "embeddings.position_ids")
TABLE = "word_embeddings"
NAMES = Names(
    layer="transformer.layer.",
    query="attention.q_lin",
    key="attention.k_lin",
    value="attention.v_lin",
    attended="attention.out_lin",
    attention_norm="sa_layer_norm",
    up="ffn.lin1",
    down="ffn.lin2",
    norm="output_layer_norm",
)
EPSILON = 1e-12  # of every norm, in transformers' code
BERTS = {
    "dim": "hidden_size",
    "hidden_dim": "intermediate_size",
    "n_layers": "num_hidden_layers",
    "n_heads": "num_attention_heads",
    "activation": "hidden_act",
}


def read(config: Mapping[str, Any]) -> Config:
    """Read and check the values; errors name them as BERT does."""
    check_config(config, {"activation": ALLOWED["hidden_act"]}, [name for name in BERTS if name != "activation"])
    return read_untyped({**text_values(config), "layer_norm_eps": EPSILON}, 0)


def text_values(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return config.json's values under BERT's names as well."""
    return {**config, **{name: config[own] for own, name in BERTS.items() if own in config}}
