"""What BERT's kin have in common in llama.cpp, which computes GELU with tanh whatever `hidden_act` says.

all-MiniLM-L6-v2 stays within 1e-4.
"""

from __future__ import annotations

from typing import Any

from edge_embed.architectures._bert import Config, Learned, Names

from . import SHAPE, VOCABULARY, Entry, Stated, Value

TABLES, TYPES, POSITIONS = "embeddings.", "token_types.weight", "position_embd.weight"
EPSILON = "attention.layer_norm_epsilon"


def metadata(config: Config) -> dict[str, Value]:
    """Return llama.cpp's keys."""
    numbers = {key: getattr(config, name) for key, name in SHAPE.items()}
    return {**numbers, EPSILON: config.layer_norm_eps, "attention.causal": False}


def numbers(stated: Stated) -> dict[str, Any]:
    """Return config.json's numbers; of a file without types of tokens, whose only type then is zero, one."""
    return {
        **stated.counts(SHAPE),
        "layer_norm_eps": stated.real(EPSILON),
        "vocab_size": stated.rows(VOCABULARY),
        "type_vocab_size": stated.rows(TYPES, 1),
    }


def tables(config: Config) -> list[Entry]:
    """List the tables of tokens and of their types."""
    dim, types = config.hidden_size, config.type_vocab_size
    kinds = Entry(TYPES, f"{TABLES}token_type_embeddings.weight", (types, dim), optional=True)
    return [
        Entry(VOCABULARY, f"{TABLES}word_embeddings.weight", (config.vocab_size, dim)),
        *([kinds] if types else []),
    ]


def entries(config: Learned, names: Names, max_tokens: int) -> list[Entry]:
    """List the tensors; of the positions just `max_tokens`, since llama.cpp takes their number for the context."""
    dim, first = config.hidden_size, config.first_position
    listed = [
        *tables(config),
        Entry(
            POSITIONS,
            f"{TABLES}position_embeddings.weight",
            (config.max_position_embeddings, dim),
            rows=(first, first + max_tokens),
        ),
        *norm("token_embd_norm", f"{TABLES}LayerNorm", dim),
    ]
    for n in range(config.num_hidden_layers):
        listed += _layer(config, names, f"blk.{n}.", f"{names.layer}{n}.")
    return listed


def norm(name: str, source: str, dim: int) -> list[Entry]:
    """List a norm's weight and bias."""
    return [Entry(f"{name}.{part}", f"{source}.{part}", (dim,)) for part in ("weight", "bias")]


def _layer(config: Learned, names: Names, to: str, at: str) -> list[Entry]:
    dim, inner = config.hidden_size, config.intermediate_size
    qkv = {"attn_q": names.query, "attn_k": names.key, "attn_v": names.value}
    parts = [
        *(_linear(f"{to}{name}", f"{at}{part}", (dim, dim), f"{at}qkv") for name, part in qkv.items()),
        _linear(f"{to}attn_output", f"{at}{names.attended}", (dim, dim)),
        norm(f"{to}attn_output_norm", f"{at}{names.attention_norm}", dim),
        _linear(f"{to}ffn_up", f"{at}{names.up}", (inner, dim)),
        _linear(f"{to}ffn_down", f"{at}{names.down}", (dim, inner)),
        norm(f"{to}layer_output_norm", f"{at}{names.norm}", dim),
    ]
    return [entry for part in parts for entry in part]


def _linear(name: str, source: str, shape: tuple[int, int], moments: str | None = None) -> list[Entry]:
    return [
        Entry(f"{name}.weight", f"{source}.weight", shape, moments=moments or source),
        Entry(f"{name}.bias", f"{source}.bias", shape[:1]),
    ]
