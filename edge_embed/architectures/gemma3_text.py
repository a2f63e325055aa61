"""Gemma 3 (arXiv 2503.19786), texts alone: in most layers a token attends to its neighbours; EmbeddingGemma.

With `use_bidirectional_attention`, as of EmbeddingGemma (arXiv 2509.20354), to both sides, else to those before it.

Models: embeddinggemma-300m.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from edge_embed.errors import CorruptModelError, UnsupportedModelError, listing
from edge_embed.spec.values import shown

from ._checks import check_config, section, whole
from ._llama import PREFIXES, TABLE, UNUSED, read_llama
from ._llama import Config as Llama

__all__ = ["ATTENTION", "PREFIXES", "TABLE", "UNUSED", "Config", "read"]

ATTENTION: Final = "causal"  # where config.json does not say otherwise
FULL, WINDOWED = "full_attention", "sliding_attention"
ALLOWED = {
    "hidden_activation": ("gelu_pytorch_tanh",),
    "attention_bias": (False,),
    "attn_logit_softcapping": (None,),
    "is_causal": (True, None),
}
# What transformers takes where config.json leaves it out.
DEFAULTS = {"head_dim": 256, "num_key_value_heads": 4, "query_pre_attn_scalar": 256, "rms_norm_eps": 1e-6}
PATTERN = 6  # every sixth layer attends to all of the text
THETAS = {FULL: ("rope_theta", 1e6), WINDOWED: ("rope_local_base_freq", 1e4)}


@dataclass(frozen=True, kw_only=True)
class Config(Llama):
    """Gemma's numbers; theta and divisor of the base are those of layers that attend to all of the text.

    `windowed` says of each layer whether it attends to neighbours alone: `before` tokens before a token, `after` behind
    it. Scores are divided by the root of `query_pre_attn_scalar`.
    """

    query_pre_attn_scalar: int
    windowed: tuple[bool, ...]
    sliding_window: int
    local_theta: float
    local_divisor: float

    @property
    def before(self) -> int:
        """How many tokens before a token it attends to, in a layer with a window."""
        return self.sliding_window - 1 if self.causal else self.sliding_window // 2

    @property
    def after(self) -> int:
        """How many tokens behind a token it attends to, in a layer with a window."""
        return 0 if self.causal else self.before

    @property
    def embedding_scale(self) -> np.float32:
        """What embeddings are multiplied by: not rounded to the checkpoint's precision, as transformers in float32."""
        return np.float32(self.hidden_size**0.5)

    @property
    def query_scale(self) -> np.float32:
        """What queries are multiplied by, where scores are divided by the root of `head_dim` after that."""
        return np.float32((self.head_dim / self.query_pre_attn_scalar) ** 0.5)

    def of_layer(self, number: int) -> Llama:
        """Return the numbers of one layer, whose positions turn by its own theta."""
        values = {name: getattr(self, name) for name in Llama.__dataclass_fields__}
        if self.windowed[number]:
            values |= {"rope_theta": self.local_theta, "rope_divisor": self.local_divisor}
        return Llama(**values)


def read(config: Mapping[str, Any]) -> Config:
    """Read and check the numbers; raises for values that would change the vectors and are not implemented."""
    check_config(config, ALLOWED, ())
    config = {**DEFAULTS, **config}
    both = config.get("use_bidirectional_attention") or False
    if not isinstance(both, bool):
        raise UnsupportedModelError(f"config.json: use_bidirectional_attention={shown(both)} is not true or false")
    base, local = (
        read_llama(_as_llama(config, kind), qk_norm=True, attention="full" if both else "causal") for kind in THETAS
    )
    windowed = _windowed(config, base.num_hidden_layers)
    return Config(
        **vars(base),
        query_pre_attn_scalar=whole(config, "query_pre_attn_scalar"),
        windowed=windowed,
        sliding_window=whole(config, "sliding_window", 4096) if any(windowed) else 1,
        local_theta=local.rope_theta,
        local_divisor=local.rope_divisor,
    )


def _windowed(config: Mapping[str, Any], layers: int) -> tuple[bool, ...]:
    """Say of each layer whether it has a window; older configs give the distance of those that have none."""
    kinds = config.get("layer_types")
    if kinds is None:
        pattern = whole(config, "sliding_window_pattern", PATTERN)
        kinds = [WINDOWED if (n + 1) % pattern else FULL for n in range(layers)]
    if not isinstance(kinds, list) or any(kind not in THETAS for kind in kinds):
        raise UnsupportedModelError(f"config.json: layer_types={shown(kinds)} is not implemented")
    if len(kinds) < layers:
        raise CorruptModelError(f"config.json: layer_types names {len(kinds)} layers of {layers}")
    return tuple(kind == WINDOWED for kind in kinds[:layers])


def _as_llama(config: Mapping[str, Any], kind: str) -> dict[str, Any]:
    """Return the values under Llama's names, with the rotary positions of one kind of layers.

    As in transformers, `rope_scaling` is of those that attend to all of the text.
    """
    key, usual = THETAS[kind]
    ropes = section(config, "rope_parameters")
    if odd := ropes.keys() - THETAS.keys():
        raise UnsupportedModelError(
            f"config.json: rope_parameters has {listing(odd)}, not one object for each layer type"
        )
    rope = {**section(ropes, kind), **(section(config, "rope_scaling") if kind == FULL else {})}
    theta = rope.get("rope_theta", config.get(key))
    others = {name: value for name, value in config.items() if name not in ("layer_types", "rope_scaling")}
    return {**others, "rope_parameters": {**rope, "rope_theta": usual if theta is None else theta}}
