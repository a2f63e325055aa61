"""jina-clip-v1 (Koukounas et al. 2024, arXiv 2405.20204): the text tower, JinaBERT-v2. _eva02.py has the other.

JinaBERT-v2 (Günther et al. 2023, arXiv 2310.19923) is a BERT whose attention is lowered by the distance of two tokens
in place of learned positions, with gated GELU layers. Tensors are named as by the checkpoint's flash-attention code.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

import mlx.core as mx
from mlx import nn

from ..config import check_config, check_heads
from ..errors import UnsupportedModelError
from ..spec import Pooling
from ._alibi import attend, slopes
from ._attention import key_mask, merge_heads, split_heads
from ._eva02 import PREFIXES as IMAGE_PREFIXES
from ._eva02 import ImageModel, image_unused, read_image

__all__ = [
    "FINER",
    "IMAGE_PREFIXES",
    "PREFIXES",
    "UNUSED",
    "Config",
    "ImageModel",
    "Model",
    "image_unused",
    "read",
    "read_image",
]

PREFIXES = ("text_model.transformer.",)
UNUSED = ("vision_model.", "logit_scale")
FINER = ("mixer.out_proj",)  # queries, keys and values are one tensor
ALLOWED = {"model_type": ("jina_clip",), "add_projections": (False,)}
ALLOWED_TEXT = {
    "hf_model_name_or_path": ("jinaai/jina-bert-flash-implementation",),
    "pooler_type": ("mean_pooler",),
    "proj_type": (None,),
}
ALLOWED_SHAPE = {"hidden_act": ("gelu",), "position_embedding_type": ("alibi",), "use_qk_norm": (False,)}


@dataclass(frozen=True, kw_only=True)
class Config:
    """The numbers of the text tower. config.json says what differs from its repository, which says these."""

    hidden_size: int = 768
    intermediate_size: int = 3072
    num_hidden_layers: int = 12
    num_attention_heads: int = 12
    layer_norm_eps: float = 1e-12
    vocab_size: int = 30528
    type_vocab_size: int = 2


def read(config: Mapping[str, Any]) -> Config:
    """Read and check the text tower's numbers; raises for values that would change the vectors."""
    check_config(config, ALLOWED, ("model_type", "text_config"))
    text = config["text_config"]
    check_config(text, ALLOWED_TEXT, ("hf_model_name_or_path", "pooler_type"))
    said = text.get("hf_model_config_kwargs") or {}
    check_config(said, ALLOWED_SHAPE, ())
    names = [field.name for field in fields(Config)]
    shape = Config(**{name: said[name] for name in names if name in said})
    if text.get("embed_dim", 768) != shape.hidden_size:
        raise UnsupportedModelError(
            f"config.json: embed_dim={text.get('embed_dim')} is not the text tower's {shape.hidden_size}"
        )
    check_heads(shape.hidden_size, shape.num_attention_heads)
    return shape


class Embeddings(nn.Module):
    """Add word and the one token type; the norm stands outside."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.word_embeddings = nn.Embedding(config.vocab_size, config.hidden_size)
        self.token_type_embeddings = nn.Embedding(config.type_vocab_size, config.hidden_size)

    def __call__(self, ids: mx.array) -> mx.array:
        """Look up (batch, tokens) -> (batch, tokens, dim)."""
        return self.word_embeddings(ids) + self.token_type_embeddings(mx.array([0]))


class Mixer(nn.Module):
    """Self-attention."""

    def __init__(self, config: Config, falling: mx.array) -> None:
        super().__init__()
        self._heads, self._falling = config.num_attention_heads, falling
        self.Wqkv = nn.Linear(config.hidden_size, 3 * config.hidden_size)
        self.out_proj = nn.Linear(config.hidden_size, config.hidden_size)

    def __call__(self, x: mx.array, mask: mx.array | None) -> mx.array:
        """Attend from every row to the real rows of its text."""
        q, k, v = (split_heads(part, self._heads) for part in mx.split(self.Wqkv(x), 3, axis=-1))
        return self.out_proj(merge_heads(attend(q, k, v, self._falling, mask)))


class MLP(nn.Module):
    """GELU of the first half times the second (Shazeer 2020, arXiv 2002.05202)."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.gated_layers = nn.Linear(config.hidden_size, 2 * config.intermediate_size, bias=False)
        self.wo = nn.Linear(config.intermediate_size, config.hidden_size)

    def __call__(self, x: mx.array) -> mx.array:
        """Gate, multiply, project back."""
        gate, up = mx.split(self.gated_layers(x), 2, axis=-1)
        return self.wo(nn.gelu(gate) * up)


class Layer(nn.Module):
    """One layer; norms stand after each addition, as in BERT."""

    def __init__(self, config: Config, falling: mx.array) -> None:
        super().__init__()
        self.mixer, self.mlp = Mixer(config, falling), MLP(config)
        self.norm1 = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.norm2 = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)

    def __call__(self, x: mx.array, mask: mx.array | None) -> mx.array:
        """Compute every row."""
        x = self.norm1(x + self.mixer(x, mask))
        return self.norm2(x + self.mlp(x))


class Encoder(nn.Module):
    """The stack of layers."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        falling = slopes(config.num_attention_heads)
        self.layers = [Layer(config, falling) for _ in range(config.num_hidden_layers)]


class Model(nn.Module):
    """All layers; every row of the last one is computed, since the pooling is the mean."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.max_positions, self.vocab_size = None, config.vocab_size
        self.embeddings = Embeddings(config)
        self.emb_ln = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.encoder = Encoder(config)

    def __call__(self, ids: mx.array, lengths: mx.array, padded: bool, pooling: Pooling) -> mx.array:
        """Return the hidden states (batch, tokens, dim)."""
        mask = key_mask(lengths, ids.shape[1]) if padded else None
        x = self.emb_ln(self.embeddings(ids))
        for layer in self.encoder.layers:
            x = layer(x, mask)
        return x
