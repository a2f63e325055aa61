"""JinaBERT-v2 (Günther et al. 2023, arXiv 2310.19923): ALiBi to both sides, gated GELU; jina-embeddings-v2.

Published as `bert`, with code of its own; jina-embeddings-v2-base-code norms queries and keys, too. The tower of
jina-clip-v1 is another.

Models: jina-embeddings-v2-small-en, base-en, de, es, zh and code.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from ._checks import check_config
from ._post_norm import TABLE, UNUSED, Config, read_alibi
from ._renamed import Renamed

__all__ = ["ALIAS", "ATTENTION", "PREFIXES", "RENAMED", "TABLE", "UNUSED", "Config", "read", "settled"]

ALIAS = {"model_type": "bert", "position_embedding_type": "alibi"}
ATTENTION: Final = "full"
PREFIXES = ("bert.",)
ALLOWED = {"position_embedding_type": ("alibi",), "feed_forward_type": ("geglu",)}
QK_NORM = "use_qk_norm"  # a key of jina-clip-v1's tower; jina-embeddings-v2 does not say it
LAYER = r"encoder\.layer\.(\d+)\."
PARTS = {
    **{rf"attention\.self\.{name}": f"self_attn.{name[0]}_proj" for name in ("query", "key", "value")},
    **{rf"attention\.self\.layer_norm_{x}": f"self_attn.{x}_norm" for x in "qk"},
    r"attention\.output\.dense": "self_attn.o_proj",
    r"attention\.output\.LayerNorm": "post_attention_layernorm",
    r"layer_norm_1": "post_attention_layernorm_2",
    r"mlp\.(?:wo|down_layer)": "mlp.down_proj",
    r"(?:mlp\.layernorm|layer_norm_2)": "post_mlp_layernorm",
}
GATED = r"layers.\1.mlp.gate_proj", r"layers.\1.mlp.up_proj"
RENAMED = (
    *(Renamed(LAYER + theirs, (rf"layers.\1.{ours}",)) for theirs, ours in PARTS.items()),
    Renamed(LAYER + r"mlp\.gated_layers", GATED),
    Renamed(LAYER + r"mlp\.up_gated_layer", GATED[::-1]),
)


def read(config: Mapping[str, Any]) -> Config:
    """Read and check the values."""
    check_config(config, {**ALLOWED, QK_NORM: (True, False)}, tuple(ALLOWED))
    return read_alibi(config, qk_norm=config.get(QK_NORM, False))


def settled(config: Mapping[str, Any], tensors: Iterable[str]) -> dict[str, Any]:
    """Return config.json with a word on norms of queries and keys, which the tensors tell."""
    normed = any(name.endswith(("self.layer_norm_q.weight", "self_attn.q_norm.weight")) for name in tensors)
    return {**config, QK_NORM: normed}
