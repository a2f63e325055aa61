"""What Llama-like encoders and decoders share: RMSNorm, rotary positions, grouped attention, SwiGLU."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from edge_embed.architectures._llama import Config
from edge_embed.errors import UnsupportedModelError

from . import SHAPE, VOCABULARY, Entry, Stated, Value

EPSILON = "attention.layer_norm_rms_epsilon"
UNREAD = ("output.weight",)  # an LM head

NORMS = {"attn_norm": "input_layernorm", "ffn_norm": "post_attention_layernorm"}


def metadata(config: Config) -> dict[str, Value]:
    """Return llama.cpp's keys for the shape of a layer and its rotary positions."""
    scaling: dict[str, Value] = {"rope.scaling.type": "none"}
    if config.rope_divisor != 1:
        scaling = {"rope.scaling.type": "linear", "rope.scaling.factor": config.rope_divisor}
    return {
        **{key: getattr(config, name) for key, name in SHAPE.items()},
        EPSILON: config.rms_norm_eps,
        "attention.head_count_kv": config.num_key_value_heads,
        "attention.key_length": config.head_dim,
        "attention.value_length": config.head_dim,
        "attention.causal": config.causal,
        "rope.dimension_count": config.head_dim,
        "rope.freq_base": config.rope_theta,
        **scaling,
    }


def config_of(stated: Stated) -> dict[str, Any]:
    """Return config.json's values."""
    found = stated.counts(SHAPE)
    heads, rope = found["num_attention_heads"], stated.rope()
    return {
        **found,
        "rms_norm_eps": stated.real(EPSILON),
        "hidden_act": "silu",
        "is_causal": stated.header.causal,
        "num_key_value_heads": stated.whole("attention.head_count_kv", heads),
        "head_dim": stated.whole("attention.key_length", found["hidden_size"] // heads),
        "max_position_embeddings": stated.whole("context_length"),
        "rope_theta": rope["rope_theta"],
        "rope_parameters": rope,
        "vocab_size": stated.rows(VOCABULARY),
    }


def check_width(config: Config, called: str) -> None:
    """Refuse heads that together are wider or narrower than the model, where llama.cpp has no place for them."""
    if config.num_attention_heads * config.head_dim != config.hidden_size:
        raise UnsupportedModelError(
            f"config.json: {config.num_attention_heads} heads of {config.head_dim} do not make "
            f"hidden_size={config.hidden_size}, which llama.cpp takes for granted in {called}: convert to ONNX or MLX "
            "instead"
        )


def entries(config: Config, *, neighbours: bool = False, norms: Mapping[str, str] = NORMS) -> list[Entry]:
    """List the tensors; an LM head is left out: llama.cpp takes the embedding table where it needs one.

    `neighbours`: llama.cpp turns neighbouring channels of this architecture's queries and keys (LLAMA_ROPE_TYPE_NORM).
    `norms`: what the checkpoint calls each of a layer's norms.
    """
    listed = [Entry(VOCABULARY, "embed_tokens.weight", (config.vocab_size, config.hidden_size))]
    for n in range(config.num_hidden_layers):
        listed += _layer(config, f"blk.{n}.", f"layers.{n}.", neighbours, norms)
    return [*listed, Entry("output_norm.weight", "norm.weight", (config.hidden_size,))]


def _layer(config: Config, to: str, at: str, neighbours: bool, named: Mapping[str, str]) -> list[Entry]:
    dim, inner, head_dim = config.hidden_size, config.intermediate_size, config.head_dim
    q_dim, kv_dim = config.num_attention_heads * head_dim, config.num_key_value_heads * head_dim
    norms = [Entry(f"{to}{name}.weight", f"{at}{source}.weight", (dim,)) for name, source in named.items()]
    if config.qk_norm:
        norms += [Entry(f"{to}attn_{x}_norm.weight", f"{at}self_attn.{x}_norm.weight", (head_dim,)) for x in "qk"]
    linears = {
        "attn_q": ("self_attn.q_proj", (q_dim, dim)),
        "attn_k": ("self_attn.k_proj", (kv_dim, dim)),
        "attn_v": ("self_attn.v_proj", (kv_dim, dim)),
        "attn_output": ("self_attn.o_proj", (dim, q_dim)),
        "ffn_gate": ("mlp.gate_proj", (inner, dim)),
        "ffn_up": ("mlp.up_proj", (inner, dim)),
        "ffn_down": ("mlp.down_proj", (dim, inner)),
    }
    biased = {"attn_q": q_dim, "attn_k": kv_dim, "attn_v": kv_dim} if config.qkv_bias else {}
    norms += [Entry(f"{to}{name}.bias", f"{at}{linears[name][0]}.bias", (size,)) for name, size in biased.items()]
    turned = {"attn_q": config.num_attention_heads, "attn_k": config.num_key_value_heads} if neighbours else {}
    return norms + [
        Entry(f"{to}{name}.weight", f"{at}{source}.weight", size, moments=f"{at}{source}", heads=turned.get(name))
        for name, (source, size) in linears.items()
    ]
