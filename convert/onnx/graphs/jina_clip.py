"""jina-clip-v1 (Koukounas et al. 2024, arXiv 2405.20204): the text tower, JinaBERT-v2. _eva02.py has the other.

JinaBERT-v2 (Günther et al. 2023, arXiv 2310.19923) is a BERT whose attention is lowered by the distance of two tokens
(ALiBi, Press et al. 2022, arXiv 2108.12409, to both sides) in place of learned positions, with gated GELU layers.
Tensors are named as by the checkpoint's own flash-attention code: `mixer.Wqkv`, `mlp.gated_layers`, `norm1`, `norm2`.
"""

from __future__ import annotations

from collections.abc import Mapping

from onnx import TensorProto

from edge_embed.architectures.jina_clip import PREFIXES, UNUSED, Config
from edge_embed.backends.onnx.names import ALL_ROWS
from edge_embed.spec.model import Pooling

from ...checkpoint.smooth import Pair
from ...checkpoint.source import Array, Reader
from ..builder import MICROSOFT, Builder
from ..levels import linear, linear_with_bias, table
from ._alibi import attend
from ._eva02 import build_image, smooth_image_pairs

__all__ = ["build", "build_image", "smooth_image_pairs", "smooth_pairs"]


def build(b: Builder, config: Config, tensors: Mapping[str, Array], pooling: Pooling) -> tuple[str, str]:
    """Add the graph of all layers; every row of the last one is kept, whatever the pooling."""
    read, dim = Reader(tensors, PREFIXES), config.hidden_size
    words = read("embeddings.word_embeddings.weight", config.vocab_size, dim)
    kinds = read("embeddings.token_type_embeddings.weight", config.type_vocab_size, dim)
    x = b.node("Add", table(b, "input_ids", "embeddings.word", words), b.weight("embeddings.type", kinds[0]))
    x = b.token_types(x, kinds)
    x = _norm(b, read, config, "emb_ln", x)
    mask = b.node("Cast", "attention_mask", to=TensorProto.INT32)
    for n in range(config.num_hidden_layers):
        x = _layer(b, read, config, f"encoder.layers.{n}.", x, mask)
    read.check_all_taken(UNUSED)
    return x, ALL_ROWS


def smooth_pairs(config: Config, tensors: Mapping[str, Array]) -> list[Pair]:
    """List nothing: the norms feed the residual too, and what else is linear is half of a tensor, or a third."""
    return []


def _layer(b: Builder, read: Reader, config: Config, at: str, x: str, mask: str) -> str:
    dim, inner = config.hidden_size, config.intermediate_size
    qkv = linear(b, x, f"{at}mixer.Wqkv", read(f"{at}mixer.Wqkv.weight", 3 * dim, dim))
    qkv = b.node("Add", qkv, b.weight(f"{at}mixer.Wqkv.bias", read(f"{at}mixer.Wqkv.bias", 3 * dim)))
    q, k, v = b.nodes("Split", qkv, outputs=3, axis=-1, num_outputs=3)
    attended = attend(b, config.num_attention_heads, q, k, v, mask, at, dim)
    x = b.node("Add", x, linear_with_bias(b, read, f"{at}mixer.out_proj", attended, dim, dim))
    x = _norm(b, read, config, f"{at}norm1", x)
    gated = linear(b, x, f"{at}mlp.gated_layers", read(f"{at}mlp.gated_layers.weight", 2 * inner, dim))
    gate, up = b.nodes("Split", gated, outputs=2, axis=-1, num_outputs=2)
    active = b.node("Mul", b.node("Gelu", gate, domain=MICROSOFT), up)
    x = b.node("Add", x, linear_with_bias(b, read, f"{at}mlp.wo", active, dim, inner))
    return _norm(b, read, config, f"{at}norm2", x)


def _norm(b: Builder, read: Reader, config: Config, at: str, x: str) -> str:
    dim = config.hidden_size
    return b.layer_norm(x, at, read(f"{at}.weight", dim), read(f"{at}.bias", dim), config.layer_norm_eps)
