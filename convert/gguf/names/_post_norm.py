"""Encoders that norm after each addition, with rotary positions or ALiBi, in llama.cpp: jina-bert-v2, -v3, nomic-bert.

It computes their GELU with tanh whatever `hidden_act` says.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from edge_embed.architectures._post_norm import Config

from . import Entry, Stated, Value, _bert
from ._bert import norm, tables


def metadata(config: Config) -> dict[str, Value]:
    """Return llama.cpp's keys."""
    keys = _bert.metadata(config)
    if not config.rotary:
        return keys
    scaling: dict[str, Value] = {"rope.scaling.type": "none"}
    if config.rope_divisor != 1:
        scaling = {"rope.scaling.type": "linear", "rope.scaling.factor": config.rope_divisor}
    return {**keys, "rope.dimension_count": config.head_dim, "rope.freq_base": config.rope_theta, **scaling}


def numbers(stated: Stated) -> dict[str, Any]:
    """Return config.json's values but for positions; GELU is as in BERT's."""
    act, longest = stated.beside.get("hidden_act", "gelu"), stated.whole("context_length")
    return {**_bert.numbers(stated), "hidden_act": act, "max_position_embeddings": longest}


def entries(config: Config, max_tokens: int) -> list[Entry]:
    """List the tensors; there is no table of positions that would limit the length."""
    listed = [*tables(config), *norm("token_embd_norm", "embeddings.LayerNorm", config.hidden_size)]
    for n in range(config.num_hidden_layers):
        listed += _layer(config, f"blk.{n}.", f"layers.{n}.")
    return listed


def _layer(config: Config, to: str, at: str) -> list[Entry]:
    dim = config.hidden_size
    parts = [
        _joined(config, to, f"{at}self_attn."),
        _linear(config, f"{to}attn_output", f"{at}self_attn.o_proj", (dim, dim)),
        norm(f"{to}attn_output_norm", f"{at}post_attention_layernorm", dim),
        _mlp(config, to, f"{at}mlp."),
        norm(f"{to}layer_output_norm", f"{at}post_mlp_layernorm", dim),
    ]
    if config.qk_norm:
        parts += [norm(f"{to}attn_{x}_norm", f"{at}self_attn.{x}_norm", dim) for x in "qk"]
        parts.append(norm(f"{to}attn_norm_2", f"{at}post_attention_layernorm_2", dim))
    return [entry for part in parts for entry in part]


def _joined(config: Config, to: str, at: str) -> list[Entry]:
    """List queries, keys and values; llama.cpp's own converter writes them as one tensor."""
    dim = config.hidden_size
    listed = []
    for n, x in enumerate("qkv"):
        for entry in _linear(config, f"{to}attn_{x}", f"{at}{x}_proj", (dim, dim), f"{at}qkv"):
            kind = entry.name.rpartition(".")[2]
            listed.append(replace(entry, within=(f"{to}attn_qkv.{kind}", n * dim, 3 * dim)))
    return listed


def _mlp(config: Config, to: str, at: str) -> list[Entry]:
    dim, inner = config.hidden_size, config.intermediate_size
    if not config.gated:
        return [
            *_linear(config, f"{to}ffn_up", f"{at}fc1", (inner, dim)),
            *_linear(config, f"{to}ffn_down", f"{at}fc2", (dim, inner)),
        ]
    both = f"{at}gate_up"
    return [
        Entry(f"{to}ffn_gate.weight", f"{at}gate_proj.weight", (inner, dim), moments=both),
        Entry(f"{to}ffn_up.weight", f"{at}up_proj.weight", (inner, dim), moments=both),
        *_linear(config, f"{to}ffn_down", f"{at}down_proj", (dim, inner)),
    ]


def _linear(config: Config, name: str, source: str, shape: tuple[int, int], moments: str | None = None) -> list[Entry]:
    weight = Entry(f"{name}.weight", f"{source}.weight", shape, moments=moments or source)
    return [weight, *([Entry(f"{name}.bias", f"{source}.bias", shape[:1])] if config.biases else [])]
