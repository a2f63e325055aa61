"""What config.json says of Llama-like encoders and decoders: RMSNorm, rotary positions, grouped attention, SwiGLU."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from edge_embed.errors import CorruptModelError, UnsupportedModelError
from edge_embed.spec.values import shown

from ._checks import check_config, check_layers, real, section, whole
from ._rotary import read_theta

ALLOWED = {
    "hidden_act": ("silu",),
    "attention_bias": (False,),
    "mlp_bias": (False,),
    "is_causal": (True, False, None),
}
NEEDED = ("hidden_size", "intermediate_size", "num_attention_heads", "num_hidden_layers", "rms_norm_eps", "vocab_size")
PREFIXES = ("model.",)
UNUSED = ("lm_head.",)
TABLE = "embed_tokens"
KINDS = ("full_attention", "sliding_attention")  # of layers
WINDOW = 4096  # tokens, where config.json does not say: transformers' default for every model with windows


@dataclass(frozen=True, kw_only=True)
class Config:
    """The numbers that shape a model; positions are divided by `rope_divisor`.

    `qk_norm`: queries and keys are normed; `qkv_bias`: theirs and the values' layers have biases. `window` is the
    longest text of which every token sees all that attention lets it see, None where windows cut none.
    """

    hidden_size: int
    intermediate_size: int
    num_hidden_layers: int
    num_attention_heads: int
    num_key_value_heads: int
    head_dim: int
    rms_norm_eps: float
    vocab_size: int
    rope_theta: float
    rope_divisor: float
    qk_norm: bool
    qkv_bias: bool
    causal: bool
    window: int | None


def read_llama(
    config: Mapping[str, Any],
    *,
    attention: Literal["full", "causal"],
    qk_norm: bool = False,
    qkv_bias: bool = False,
    window: int | None = None,
) -> Config:
    """Read and check the numbers; raises for values that would change the vectors and are not implemented.

    A causal model attends to both sides where config.json has `is_causal` false, as in transformers since 5.2.
    """
    check_config(config, ALLOWED, NEEDED)
    kinds = config.get("layer_types") or []
    if not isinstance(kinds, list) or any(kind not in KINDS[: 1 if window is None else 2] for kind in kinds):
        raise UnsupportedModelError(f"config.json: layer_types={shown(kinds)} is not implemented")
    size, heads, layers = (whole(config, key) for key in ("hidden_size", "num_attention_heads", "num_hidden_layers"))
    check_layers(layers)
    kv_heads = whole(config, "num_key_value_heads", heads)
    head_dim = whole(config, "head_dim", size // heads)
    if heads % kv_heads or head_dim % 2 or not head_dim:
        raise CorruptModelError(f"config.json: {heads} heads do not share {kv_heads} key heads of {head_dim}")
    theta, divisor = read_rope(config)
    return Config(
        hidden_size=size,
        intermediate_size=whole(config, "intermediate_size"),
        num_hidden_layers=layers,
        num_attention_heads=heads,
        num_key_value_heads=kv_heads,
        head_dim=head_dim,
        rms_norm_eps=real(config, "rms_norm_eps"),
        vocab_size=whole(config, "vocab_size"),
        rope_theta=theta,
        rope_divisor=divisor,
        qk_norm=qk_norm,
        qkv_bias=qkv_bias,
        causal=attention == "causal" and config.get("is_causal") is not False,
        window=window,
    )


def qwen_window(config: Mapping[str, Any]) -> int | None:
    """Return the window of Qwen's later layers, None where config.json has it in none of them."""
    check_config(config, {"use_sliding_window": (True, False, None)}, ())
    if not config.get("use_sliding_window") or config.get("sliding_window", WINDOW) is None:
        return None
    kinds, layers = config.get("layer_types"), whole(config, "num_hidden_layers")
    windowed = (
        KINDS[1] in kinds if isinstance(kinds, list) else whole(config, "max_window_layers", 28, least=0) < layers
    )
    return whole(config, "sliding_window", WINDOW) if windowed else None


def within(config: Mapping[str, Any], window: int | None) -> dict[str, Any]:
    """Return config.json with no more positions than a window has: longer texts would lose sight of their beginning.

    No format computes windows (llama.cpp has none for these architectures), so that up to there all are exact.
    """
    positions = config.get("max_position_embeddings")
    if window is None or (isinstance(positions, int) and positions <= window):
        return dict(config)
    return {**config, "max_position_embeddings": window}


def read_rope(config: Mapping[str, Any], theta: float | None = None) -> tuple[float, float]:
    """Return theta, from either place where transformers keeps it, and what positions are divided by (1: nothing).

    `theta` is an architecture's own, where config.json says none. As in transformers, `rope_scaling` stands in the
    place of `rope_parameters` where a config has both.
    Scaling "linear" divides the positions; other kinds are refused, and so is a config that lost its theta.
    """
    rope = section(config, "rope_scaling") or section(config, "rope_parameters")
    stated = config.get("rope_theta", theta)
    if rope.get("rope_theta", stated) is None:
        raise CorruptModelError("config.json has no rope_theta, neither by itself nor in rope_parameters")
    found = read_theta(rope, stated, ("default", "linear"))
    if rope.get("partial_rotary_factor", config.get("partial_rotary_factor") or 1) != 1:
        raise UnsupportedModelError("config.json: partial_rotary_factor is not implemented")
    linear = rope.get("rope_type", rope.get("type")) == "linear"
    divisor = real(rope, "factor", 1.0) if linear else 1.0
    if not divisor:
        raise CorruptModelError(f"config.json: factor={divisor} must be above 0")
    return found, divisor
