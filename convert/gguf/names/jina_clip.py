"""jina-clip-v1's text tower in llama.cpp, which knows it as jina-bert-v2 and computes its GELU with tanh."""

from __future__ import annotations

from edge_embed.architectures.jina_clip import Config

from . import Entry
from ._bert import metadata, norm, tables

__all__ = ["NAME", "entries", "metadata"]

NAME = "jina-bert-v2"


def entries(config: Config, max_tokens: int) -> list[Entry]:
    """List the tensors; ALiBi has no table of positions that would limit the length."""
    dim = config.hidden_size
    listed = [
        *tables(config),
        *norm("token_embd_norm", "emb_ln", dim),
    ]
    for n in range(config.num_hidden_layers):
        listed += _layer(dim, config.intermediate_size, f"blk.{n}.", f"encoder.layers.{n}.")
    return listed


def _layer(dim: int, inner: int, to: str, at: str) -> list[Entry]:
    qkv, gated = f"{at}mixer.Wqkv", f"{at}mlp.gated_layers"
    parts = [
        *(_linear(f"{to}attn_{x}", qkv, (3 * dim, dim), (n * dim, (n + 1) * dim)) for n, x in enumerate("qkv")),
        _linear(f"{to}attn_output", f"{at}mixer.out_proj", (dim, dim)),
        norm(f"{to}attn_output_norm", f"{at}norm1", dim),
        [Entry(f"{to}ffn_up.weight", f"{gated}.weight", (2 * inner, dim), moments=gated)],  # gate, then what it scales
        _linear(f"{to}ffn_down", f"{at}mlp.wo", (dim, inner)),
        norm(f"{to}layer_output_norm", f"{at}norm2", dim),
    ]
    return [entry for part in parts for entry in part]


def _linear(name: str, source: str, shape: tuple[int, int], rows: tuple[int, int] | None = None) -> list[Entry]:
    return [
        Entry(f"{name}.weight", f"{source}.weight", shape, moments=source, rows=rows),
        Entry(f"{name}.bias", f"{source}.bias", shape[:1], rows=rows),
    ]
