"""GTE (Zhang et al. 2024, arXiv 2407.19669): rotary positions, a gated MLP; gte-multilingual-base, gte-*-en-v1.5.

Published as `new`, with code of its own, and as transformers has it since 5.20, to which snowflake-arctic-embed-m-v2.0
keeps. Weights are read by name.

Models: gte-multilingual-base, gte-base-en-v1.5 and large, snowflake-arctic-embed-m-v2.0.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from edge_embed.errors import CorruptModelError

from ._checks import CONFIG, check_config, check_heads, real, section, whole
from ._post_norm import TABLE, UNUSED, Config, read_rotary
from ._renamed import Renamed

__all__ = ["ALIAS", "ATTENTION", "PREFIXES", "RENAMED", "TABLE", "UNUSED", "Config", "read", "settled"]

ALIAS = {"model_type": "new"}
ATTENTION: Final = "full"
PREFIXES = ("new.", "gte.")
LAYER = r"encoder\.layer\.(\d+)\."
RENAMED = (
    Renamed(LAYER + r"attention\.qkv_proj", tuple(rf"layers.\1.self_attn.{x}_proj" for x in "qkv")),
    Renamed(LAYER + r"attention\.([qkvo]_proj)", (r"layers.\1.self_attn.\2",)),
    Renamed(LAYER + r"attn_ln", (r"layers.\1.post_attention_layernorm",)),
    Renamed(LAYER + r"mlp\.up_gate_proj", (r"layers.\1.mlp.up_proj", r"layers.\1.mlp.gate_proj")),
    Renamed(LAYER + r"mlp\.down_proj", (r"layers.\1.mlp.down_proj",)),
    Renamed(LAYER + r"mlp_ln", (r"layers.\1.post_mlp_layernorm",)),
)
THETA, PUBLISHED_THETA = 1.6e5, 1e4  # where config.json says none: transformers', and the published code's
NTK = "ntk"
ALLOWED = {
    "position_embedding_type": ("rope",),
    "layer_norm_type": ("layer_norm",),
    "logn_attention_scale": (False, None),
    "logn_attention_clip1": (False, None),
}
# What the published code alone reads; how it packs texts and computes attention changes no number.
OTHERS = (*ALLOWED, "pack_qkv", "unpad_inputs", "use_memory_efficient_attention", "rope_scaling", "rope_theta")


def read(config: Mapping[str, Any]) -> Config:
    """Read and check the values, as transformers calls them."""
    return read_rotary(config, gated=True, theta=THETA)


def settled(config: Mapping[str, Any], tensors: Iterable[str]) -> dict[str, Any]:
    """Return the published config.json as transformers has it; raise UnsupportedModelError for what it cannot say."""
    if "position_embedding_type" not in config:
        return dict(config)
    check_config(config, ALLOWED, ("hidden_size", "num_attention_heads"))
    rest = {key: value for key, value in config.items() if key not in OTHERS}
    return {**rest, "rope_parameters": _rope(config)}


def _rope(config: Mapping[str, Any]) -> dict[str, Any]:
    """Say positions that are scaled by NTK as transformers can, which is without loss.

    Angles of theta * factor are divided by factor ^ (2 / head_dim), so that the slowest pair turns as if positions were
    divided by the factor, and the fastest nearly as before (arXiv 2407.19669).
    """
    theta, scaling = real(config, "rope_theta", PUBLISHED_THETA), section(config, "rope_scaling")
    if not scaling:
        return {"rope_type": "default", "rope_theta": theta}
    check_config(scaling, {"type": (NTK,), "mixed_b": (None,)}, ("type", "factor"))
    size, heads = whole(config, "hidden_size"), whole(config, "num_attention_heads")
    check_heads(size, heads)
    factor = real(scaling, "factor")
    if factor < 1:
        raise CorruptModelError(f"{CONFIG}: rope_scaling has factor={factor}, which must be 1 at least")
    return {"rope_type": "linear", "rope_theta": theta * factor, "factor": factor ** (2 * heads / size)}
