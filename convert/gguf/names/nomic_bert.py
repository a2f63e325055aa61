"""NomicBERT in llama.cpp."""

from __future__ import annotations

from typing import Any

from edge_embed.architectures.nomic_bert import Config

from . import Entry, Stated, Value, _bert

NAME = "nomic-bert"


def metadata(config: Config) -> dict[str, Value]:
    """Return llama.cpp's keys."""
    return {**_bert.metadata(config), "rope.freq_base": config.rope_theta, "rope.scaling.type": "none"}


def config_of(stated: Stated) -> dict[str, Any]:
    """Return config.json's values, as transformers has them."""
    return {
        **_bert.numbers(stated),
        "hidden_act": "silu",
        "max_position_embeddings": stated.whole("context_length"),
        "rope_parameters": stated.rope(),
    }


def entries(config: Config, max_tokens: int) -> list[Entry]:
    """List the tensors; rotary positions have no table that would limit the length."""
    listed = [*_bert.tables(config), *_bert.norm("token_embd_norm", "emb_ln", config.hidden_size)]
    for n in range(config.num_hidden_layers):
        listed += _layer(config, f"blk.{n}.", f"encoder.layers.{n}.")
    return listed


def _layer(config: Config, to: str, at: str) -> list[Entry]:
    dim, inner = config.hidden_size, config.intermediate_size
    linears = {
        "attn_qkv": ("attn.Wqkv", (3 * dim, dim)),
        "attn_output": ("attn.out_proj", (dim, dim)),
        "ffn_up": ("mlp.fc11", (inner, dim)),
        "ffn_gate": ("mlp.fc12", (inner, dim)),
        "ffn_down": ("mlp.fc2", (dim, inner)),
    }
    return [
        *_bert.norm(f"{to}attn_output_norm", f"{at}norm1", dim),
        *_bert.norm(f"{to}layer_output_norm", f"{at}norm2", dim),
        *(
            Entry(f"{to}{name}.weight", f"{at}{source}.weight", size, moments=f"{at}{source}")
            for name, (source, size) in linears.items()
        ),
    ]
