"""What BERT's kin have in common in llama.cpp, which computes GELU with tanh whatever `hidden_act` says.

all-MiniLM-L6-v2 stays within 1e-4.
"""

from __future__ import annotations

from edge_embed.architectures._bert import Config, Learned, Names

from . import Entry, Value

TABLES = "embeddings."


def metadata(config: Config) -> dict[str, Value]:
    """Return llama.cpp's keys."""
    return {
        "block_count": config.num_hidden_layers,
        "embedding_length": config.hidden_size,
        "feed_forward_length": config.intermediate_size,
        "attention.head_count": config.num_attention_heads,
        "attention.layer_norm_epsilon": float(config.layer_norm_eps),
        "attention.causal": False,
    }


def tables(config: Config) -> list[Entry]:
    """List the tables of tokens and of their types."""
    dim, types = config.hidden_size, config.type_vocab_size
    kinds = Entry("token_types.weight", f"{TABLES}token_type_embeddings.weight", (types, dim))
    return [
        Entry("token_embd.weight", f"{TABLES}word_embeddings.weight", (config.vocab_size, dim)),
        *([kinds] if types else []),
    ]


def entries(config: Learned, names: Names, max_tokens: int) -> list[Entry]:
    """List the tensors; of the positions just `max_tokens`, since llama.cpp takes their number for the context."""
    dim, first = config.hidden_size, config.first_position
    listed = [
        *tables(config),
        Entry(
            "position_embd.weight",
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
