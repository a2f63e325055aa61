"""NomicBERT (Nussbaum et al. 2024, arXiv 2402.01613) as transformers' NomicBertModel computes it, token type 0."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from edge_embed.architectures._rotary import inverse_frequencies
from edge_embed.architectures.nomic_bert import PREFIXES, UNUSED, Config
from edge_embed.backends.onnx.names import ALL_ROWS
from edge_embed.spec.model import Pooling

from ...checkpoint.source import Array, Reader
from ..builder import MICROSOFT, Builder
from ..levels import linear, table
from . import _apart
from ._bert import smooth_pairs
from ._rotary import rotate, tables

__all__ = ["build", "smooth_pairs"]


def build(b: Builder, config: Config, tensors: Mapping[str, Array], pooling: Pooling) -> tuple[str, str]:
    """Add the graph of all layers; every row of the last one is kept, whatever the pooling."""
    read, dim = Reader(tensors, PREFIXES), config.hidden_size
    words = read("embeddings.word_embeddings.weight", config.vocab_size, dim)
    kinds = read("embeddings.token_type_embeddings.weight", config.type_vocab_size, dim)
    x = b.node("Add", table(b, "input_ids", "embeddings.word", words), b.weight("embeddings.type", kinds[0]))
    x = b.token_types(x, kinds)
    x = _norm(b, read, config, "emb_ln", x)
    lengths = b.node("ReduceSum", "attention_mask", b.constant([1], np.int64), keepdims=0)
    angles = tables(b, "rope", inverse_frequencies(config.head_dim, config.rope_theta))
    for n in range(config.num_hidden_layers):
        x = _layer(b, read, config, f"encoder.layers.{n}.", x, angles, lengths)
    read.check_all_taken(UNUSED)
    return x, ALL_ROWS


def _layer(b: Builder, read: Reader, config: Config, at: str, x: str, angles: tuple[str, str], lengths: str) -> str:
    """Add one layer: attention and MLP, each added and normalised after."""
    dim, inner, heads = config.hidden_size, config.intermediate_size, config.num_attention_heads
    qkv = linear(b, x, f"{at}attn.Wqkv", read(f"{at}attn.Wqkv.weight", 3 * dim, dim))
    q, k, v = b.nodes("Split", qkv, outputs=3, axis=-1, num_outputs=3)
    q, k = (rotate(b, part, angles, heads) for part in (q, k))
    attended = _apart.attend(b, heads, q, k, v, lengths, at, one_row=False)
    out = linear(b, attended, f"{at}attn.out_proj", read(f"{at}attn.out_proj.weight", dim, dim))
    x = _norm(b, read, config, f"{at}norm1", b.node("Add", out, x))
    up = linear(b, x, f"{at}mlp.fc11", read(f"{at}mlp.fc11.weight", inner, dim))
    gate = linear(b, x, f"{at}mlp.fc12", read(f"{at}mlp.fc12.weight", inner, dim))
    active = b.node("Mul", b.node("QuickGelu", gate, domain=MICROSOFT, alpha=1.0), up)  # alpha 1 makes it SiLU
    down = linear(b, active, f"{at}mlp.fc2", read(f"{at}mlp.fc2.weight", dim, inner))
    return _norm(b, read, config, f"{at}norm2", b.node("Add", down, x))


def _norm(b: Builder, read: Reader, config: Config, at: str, x: str) -> str:
    dim = config.hidden_size
    return b.layer_norm(x, at, read(f"{at}.weight", dim), read(f"{at}.bias", dim), config.layer_norm_eps)
