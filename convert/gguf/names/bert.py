"""BERT in llama.cpp, which computes GELU with tanh whatever `hidden_act` says: all-MiniLM-L6-v2 stays within 1e-4."""

from __future__ import annotations

from edge_embed.architectures.bert import Config

from . import Entry, Value

NAME = "bert"


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


def entries(config: Config, max_tokens: int) -> list[Entry]:
    """List the tensors; of the positions just `max_tokens`, since llama.cpp takes their number for the context."""
    dim, tables = config.hidden_size, "embeddings."
    listed = [
        Entry("token_embd.weight", f"{tables}word_embeddings.weight", (config.vocab_size, dim)),
        Entry("token_types.weight", f"{tables}token_type_embeddings.weight", (config.type_vocab_size, dim)),
        Entry(
            "position_embd.weight",
            f"{tables}position_embeddings.weight",
            (config.max_position_embeddings, dim),
            rows=(0, max_tokens),
        ),
        *_norm("token_embd_norm", f"{tables}LayerNorm", dim),
    ]
    for n in range(config.num_hidden_layers):
        listed += _layer(config, f"blk.{n}.", f"encoder.layer.{n}.")
    return listed


def _layer(config: Config, to: str, at: str) -> list[Entry]:
    dim, inner = config.hidden_size, config.intermediate_size
    qkv = {"attn_q": "query", "attn_k": "key", "attn_v": "value"}
    parts = [
        *(_linear(f"{to}{name}", f"{at}attention.self.{part}", (dim, dim), f"{at}qkv") for name, part in qkv.items()),
        _linear(f"{to}attn_output", f"{at}attention.output.dense", (dim, dim), f"{at}attention.output.dense"),
        _norm(f"{to}attn_output_norm", f"{at}attention.output.LayerNorm", dim),
        _linear(f"{to}ffn_up", f"{at}intermediate.dense", (inner, dim), f"{at}intermediate"),
        _linear(f"{to}ffn_down", f"{at}output.dense", (dim, inner), f"{at}output.dense"),
        _norm(f"{to}layer_output_norm", f"{at}output.LayerNorm", dim),
    ]
    return [entry for part in parts for entry in part]


def _linear(name: str, source: str, shape: tuple[int, int], moments: str) -> list[Entry]:
    return [
        Entry(f"{name}.weight", f"{source}.weight", shape, moments=moments),
        Entry(f"{name}.bias", f"{source}.bias", shape[:1]),
    ]


def _norm(name: str, source: str, dim: int) -> list[Entry]:
    return [Entry(f"{name}.{part}", f"{source}.{part}", (dim,)) for part in ("weight", "bias")]
