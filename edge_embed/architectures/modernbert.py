"""ModernBERT (Warner et al. 2024, arXiv 2412.13663): most layers see a window of each token's neighbours, norms first.

gte-modernbert-base, granite-embedding-english-r2, modernbert-embed-base.

Models: gte-modernbert-base, granite-embedding-english-r2 and small-english-r2, modernbert-embed-base.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from edge_embed.errors import CorruptModelError, UnsupportedModelError
from edge_embed.spec.values import shown

from ._checks import CONFIG, check_config, check_heads, check_layers, flag, real, section, whole
from ._rotary import read_theta

__all__ = ["ATTENTION", "PREFIXES", "TABLE", "UNUSED", "Config", "read"]

ATTENTION: Final = "full"
PREFIXES = ("model.",)
UNUSED = ("head.", "decoder.", "classifier.")
TABLE = "tok_embeddings"
ALLOWED = {"hidden_activation": ("gelu", "gelu_new", "gelu_pytorch_tanh", "silu")}
NEEDED = ("hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads", "vocab_size", "norm_eps")
KINDS = {"full_attention": False, "sliding_attention": True}  # of layers, and whether they are local
# What transformers takes where config.json does not say.
WINDOW, PERIOD, THETAS = 128, 3, {"full_attention": 160_000.0, "sliding_attention": 10_000.0}
OLDER_NAMES = {"full_attention": "global_rope_theta", "sliding_attention": "local_rope_theta"}


@dataclass(frozen=True, kw_only=True)
class Config:
    """The values that shape a model; `local` says of each layer whether its tokens see `reach` others to each side."""

    hidden_size: int
    intermediate_size: int
    num_hidden_layers: int
    num_attention_heads: int
    vocab_size: int
    norm_eps: float
    hidden_activation: str
    norm_bias: bool
    attention_bias: bool
    mlp_bias: bool
    window: int
    local: tuple[bool, ...]
    theta: float
    local_theta: float

    @property
    def head_dim(self) -> int:
        """The width of one head."""
        return self.hidden_size // self.num_attention_heads

    @property
    def reach(self) -> int:
        """How many tokens a token of a local layer sees to each side."""
        return self.window // 2


def read(config: Mapping[str, Any]) -> Config:
    """Read and check the values; thetas as transformers 5 keeps them, for each kind of layer, or as before."""
    check_config(config, ALLOWED, NEEDED)
    size, heads, layers = (whole(config, key) for key in ("hidden_size", "num_attention_heads", "num_hidden_layers"))
    check_layers(layers)
    check_heads(size, heads)
    if size // heads % 2:
        raise CorruptModelError(f"{CONFIG}: heads of {size // heads} numbers cannot turn in pairs")
    return Config(
        hidden_size=size,
        intermediate_size=whole(config, "intermediate_size"),
        num_hidden_layers=layers,
        num_attention_heads=heads,
        vocab_size=whole(config, "vocab_size"),
        norm_eps=real(config, "norm_eps"),
        hidden_activation=config.get("hidden_activation", "gelu"),
        norm_bias=flag(config, "norm_bias", False),
        attention_bias=flag(config, "attention_bias", False),
        mlp_bias=flag(config, "mlp_bias", False),
        window=whole(config, "local_attention", WINDOW),
        local=_local(config, layers),
        theta=_theta(config, "full_attention"),
        local_theta=_theta(config, "sliding_attention"),
    )


def _local(config: Mapping[str, Any], layers: int) -> tuple[bool, ...]:
    """Return of each layer whether it is local: by its name, or else all but every third, or as many as are said."""
    kinds = config.get("layer_types")
    if kinds is None:
        period = whole(config, "global_attn_every_n_layers", PERIOD)
        return tuple(n % period != 0 for n in range(layers))
    if not isinstance(kinds, list) or len(kinds) != layers:
        raise CorruptModelError(f"{CONFIG}: layer_types={shown(kinds)} are not those of {layers} layers")
    if odd := [kind for kind in kinds if kind not in [*KINDS]]:
        raise UnsupportedModelError(
            f"{CONFIG}: layer_types has {shown(odd[0])}; 'full_attention' and 'sliding_attention' are implemented"
        )
    return tuple(KINDS[kind] for kind in kinds)


def _theta(config: Mapping[str, Any], kind: str) -> float:
    """Return the theta of a kind of layers."""
    ropes = section(config, "rope_parameters")
    rope = section(ropes, kind) | section(config, "rope_scaling")
    if odd := ropes.keys() - KINDS.keys():
        raise UnsupportedModelError(
            f"{CONFIG}: rope_parameters={shown(dict.fromkeys(sorted(odd), '...'))} is not implemented; one entry for "
            "each kind of layers is"
        )
    return read_theta(rope, config.get(OLDER_NAMES[kind], THETAS[kind]))
