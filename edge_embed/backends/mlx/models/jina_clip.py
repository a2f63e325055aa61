"""jina-clip-v1 (Koukounas et al. 2024, arXiv 2405.20204): the text tower, JinaBERT-v2. _eva02.py has the other.

JinaBERT-v2 (Günther et al. 2023, arXiv 2310.19923) is a BERT whose attention is lowered by the distance of two tokens
in place of learned positions, with gated GELU layers. Tensors are named as by the checkpoint's flash-attention code.
"""

from __future__ import annotations

import mlx.core as mx
from mlx import nn

from edge_embed.architectures.jina_clip import Config
from edge_embed.spec.model import Pooling

from ._alibi import attend, head_slopes
from ._attention import key_mask, merge_heads, split_heads
from ._eva02 import ImageModel

__all__ = ["SENSITIVE_LAYERS", "ImageModel", "Model"]

SENSITIVE_LAYERS = ("mixer.out_proj",)  # queries, keys and values are one tensor


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

    def __init__(self, config: Config, slopes: mx.array) -> None:
        super().__init__()
        self._heads, self._slopes = config.num_attention_heads, slopes
        self.Wqkv = nn.Linear(config.hidden_size, 3 * config.hidden_size)
        self.out_proj = nn.Linear(config.hidden_size, config.hidden_size)

    def __call__(self, x: mx.array, mask: mx.array | None) -> mx.array:
        """Attend from every row to the real rows of its text."""
        q, k, v = (split_heads(part, self._heads) for part in mx.split(self.Wqkv(x), 3, axis=-1))
        return self.out_proj(merge_heads(attend(q, k, v, self._slopes, mask)))


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

    def __init__(self, config: Config, slopes: mx.array) -> None:
        super().__init__()
        self.mixer, self.mlp = Mixer(config, slopes), MLP(config)
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
        slopes = head_slopes(config.num_attention_heads)
        self.layers = [Layer(config, slopes) for _ in range(config.num_hidden_layers)]


class Model(nn.Module):
    """All layers; every row of the last one is computed, since the pooling is the mean."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.causal = False
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
