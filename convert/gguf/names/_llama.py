"""What Llama-like encoders and decoders share: RMSNorm, rotary positions, grouped attention, SwiGLU."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from edge_embed.architectures.config import rope_of

from ...onnx.graphs._llama import Shape
from . import Entry, Value


def metadata(config: Mapping[str, Any], shape: Shape) -> dict[str, Value]:
    """Return llama.cpp's keys for the shape of a layer and its rotary positions."""
    theta, factor = rope_of(config)
    scaling: dict[str, Value] = {"rope.scaling.type": "none"}
    if factor != 1:
        scaling = {"rope.scaling.type": "linear", "rope.scaling.factor": factor}
    return {
        "block_count": config["num_hidden_layers"],
        "embedding_length": shape.dim,
        "feed_forward_length": shape.inner,
        "attention.head_count": shape.heads,
        "attention.head_count_kv": shape.kv_heads,
        "attention.key_length": shape.head_dim,
        "attention.value_length": shape.head_dim,
        "attention.layer_norm_rms_epsilon": float(shape.epsilon),
        "attention.causal": shape.causal,
        "rope.dimension_count": shape.head_dim,
        "rope.freq_base": theta,
        **scaling,
    }


def entries(config: Mapping[str, Any], shape: Shape, *, neighbours: bool = False) -> list[Entry]:
    """List the tensors; an LM head is left out: llama.cpp takes the embedding table where it needs one.

    `neighbours`: llama.cpp turns neighbouring channels of this architecture's queries and keys (LLAMA_ROPE_TYPE_NORM).
    """
    listed = [Entry("token_embd.weight", "embed_tokens.weight", (config["vocab_size"], shape.dim))]
    for n in range(config["num_hidden_layers"]):
        listed += _layer(shape, f"blk.{n}.", f"layers.{n}.", neighbours)
    return [*listed, Entry("output_norm.weight", "norm.weight", (shape.dim,))]


def _layer(shape: Shape, to: str, at: str, neighbours: bool) -> list[Entry]:
    dim, q_dim, kv_dim = shape.dim, shape.heads * shape.head_dim, shape.kv_heads * shape.head_dim
    norms = [Entry(f"{to}attn_norm.weight", f"{at}input_layernorm.weight", (dim,))]
    norms += [Entry(f"{to}ffn_norm.weight", f"{at}post_attention_layernorm.weight", (dim,))]
    if shape.qk_norm:
        norms += [Entry(f"{to}attn_{x}_norm.weight", f"{at}self_attn.{x}_norm.weight", (shape.head_dim,)) for x in "qk"]
    linears = {
        "attn_q": ("self_attn.q_proj", (q_dim, dim)),
        "attn_k": ("self_attn.k_proj", (kv_dim, dim)),
        "attn_v": ("self_attn.v_proj", (kv_dim, dim)),
        "attn_output": ("self_attn.o_proj", (dim, q_dim)),
        "ffn_gate": ("mlp.gate_proj", (shape.inner, dim)),
        "ffn_up": ("mlp.up_proj", (shape.inner, dim)),
        "ffn_down": ("mlp.down_proj", (dim, shape.inner)),
    }
    turned = {"attn_q": shape.heads, "attn_k": shape.kv_heads} if neighbours else {}
    return norms + [
        Entry(f"{to}{name}.weight", f"{at}{source}.weight", size, moments=f"{at}{source}", heads=turned.get(name))
        for name, (source, size) in linears.items()
    ]
