"""BERT in llama.cpp, which computes GELU with tanh whatever `hidden_act` says: all-MiniLM-L6-v2 stays within 1e-4."""

from __future__ import annotations

from edge_embed.architectures.bert import Config

from . import Entry
from ._bert import TABLES, metadata, norm, tables

__all__ = ["NAME", "entries", "metadata"]

NAME = "bert"


def entries(config: Config, max_tokens: int) -> list[Entry]:
    """List the tensors; of the positions just `max_tokens`, since llama.cpp takes their number for the context."""
    dim = config.hidden_size
    listed = [
        *tables(config),
        Entry(
            "position_embd.weight",
            f"{TABLES}position_embeddings.weight",
            (config.max_position_embeddings, dim),
            rows=(0, max_tokens),
        ),
        *norm("token_embd_norm", f"{TABLES}LayerNorm", dim),
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
        norm(f"{to}attn_output_norm", f"{at}attention.output.LayerNorm", dim),
        _linear(f"{to}ffn_up", f"{at}intermediate.dense", (inner, dim), f"{at}intermediate"),
        _linear(f"{to}ffn_down", f"{at}output.dense", (dim, inner), f"{at}output.dense"),
        norm(f"{to}layer_output_norm", f"{at}output.LayerNorm", dim),
    ]
    return [entry for part in parts for entry in part]


def _linear(name: str, source: str, shape: tuple[int, int], moments: str) -> list[Entry]:
    return [
        Entry(f"{name}.weight", f"{source}.weight", shape, moments=moments),
        Entry(f"{name}.bias", f"{source}.bias", shape[:1]),
    ]
