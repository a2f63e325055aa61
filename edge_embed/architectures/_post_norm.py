"""Encoders that norm after each addition, as BERT does, with rotary positions or ALiBi in the place of a table.

Tensors are called as transformers' GTE and jina-embeddings-v3 call them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from edge_embed.errors import CorruptModelError
from edge_embed.spec import values

from ._bert import Config as _Config
from ._checks import CONFIG, check_config, check_heads, numbers
from ._llama import read_rope
from ._renamed import Renamed

GELUS = ("gelu", "gelu_new", "gelu_pytorch_tanh")
ALLOWED = {
    "is_decoder": (False,),
    "add_cross_attention": (False,),
}
NEEDED = (
    *("hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads"),
    *("layer_norm_eps", "type_vocab_size", "vocab_size"),
)
UNUSED = ("pooler.", "cls.", "lm_head.", "classifier.", "embeddings.position_ids")  # heads, and a table of 0, 1, 2, ...
TABLE = "word_embeddings"
# As flash-attention's BERT calls them; MLPs differ.
FLASH = (
    Renamed(r"emb_ln", ("embeddings.LayerNorm",)),
    Renamed(r"encoder\.layers\.(\d+)\.mixer\.Wqkv", tuple(rf"layers.\1.self_attn.{x}_proj" for x in "qkv")),
    Renamed(r"encoder\.layers\.(\d+)\.mixer\.out_proj", (r"layers.\1.self_attn.o_proj",)),
    Renamed(r"encoder\.layers\.(\d+)\.norm1", (r"layers.\1.post_attention_layernorm",)),
    Renamed(r"encoder\.layers\.(\d+)\.norm2", (r"layers.\1.post_mlp_layernorm",)),
)


@dataclass(frozen=True, kw_only=True)
class Config(_Config):
    """The values that shape a model, under BERT's names; positions are divided by `rope_divisor`.

    `rotary`: positions turn queries and keys; else scores fall with the tokens' distance. `gated`: the MLP scales what
    it activates. `biases`: linear layers have them. `qk_norm`: queries and keys are normed, and what is attended twice.
    """

    hidden_act: str = "gelu"
    gated: bool = True
    biases: bool = True
    qk_norm: bool = False
    rotary: bool = True
    rope_theta: float = 1.0
    rope_divisor: float = 1.0

    @property
    def head_dim(self) -> int:
        """Channels of one head."""
        return self.hidden_size // self.num_attention_heads


def read_rotary(
    config: Mapping[str, Any], *, gated: bool, theta: float, biases: bool = True, activations: tuple[str, ...] = GELUS
) -> Config:
    """Read and check the values of a model with rotary positions; `theta` where config.json says none."""
    found = _read(config, activations)
    if found.head_dim % 2:
        raise CorruptModelError(f"{CONFIG}: heads of {found.head_dim} channels do not make pairs that positions turn")
    rope_theta, rope_divisor = read_rope(config, theta)
    return replace(found, gated=gated, biases=biases, rope_theta=rope_theta, rope_divisor=rope_divisor)


def read_alibi(config: Mapping[str, Any], *, qk_norm: bool = False) -> Config:
    """Read and check the values of a model with ALiBi, whose MLP is gated by GELU."""
    return replace(_read(config), rotary=False, qk_norm=qk_norm)


def _read(config: Mapping[str, Any], activations: tuple[str, ...] = GELUS) -> Config:
    check_config(config, {**ALLOWED, "hidden_act": activations}, NEEDED)
    types = values.whole(config, "type_vocab_size", CONFIG, least=0)
    known = {key: value for key, value in config.items() if key in (*NEEDED, "hidden_act")}
    found = replace(numbers(Config, {**known, "type_vocab_size": 1}), type_vocab_size=types)
    check_heads(found.hidden_size, found.num_attention_heads)
    return found
