"""What BERT's kin have in common in llama.cpp."""

from __future__ import annotations

from edge_embed.architectures._bert import Config

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
    dim = config.hidden_size
    return [
        Entry("token_embd.weight", f"{TABLES}word_embeddings.weight", (config.vocab_size, dim)),
        Entry("token_types.weight", f"{TABLES}token_type_embeddings.weight", (config.type_vocab_size, dim)),
    ]


def norm(name: str, source: str, dim: int) -> list[Entry]:
    """List a norm's weight and bias."""
    return [Entry(f"{name}.{part}", f"{source}.{part}", (dim,)) for part in ("weight", "bias")]
