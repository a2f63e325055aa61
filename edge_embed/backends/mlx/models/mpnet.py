"""MPNet (Song et al. 2020, arXiv 2004.09297) as transformers' MPNetModel computes it."""

from __future__ import annotations

import mlx.core as mx
from mlx import nn

from edge_embed.architectures.mpnet import BUCKETS, Config, buckets
from edge_embed.spec.model import Pooling

from ._attention import key_mask, merge_heads, split_heads, take_row
from .bert import AddNorm, Embeddings, Intermediate

SENSITIVE_LAYERS = ("attention.attn.v", "attention.attn.o")


class SelfAttention(nn.Module):
    """Multi-head attention with its output projection; `bias` (batch, heads, tokens, tokens) is added to the scores."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self._heads = config.num_attention_heads
        self.q = nn.Linear(config.hidden_size, config.hidden_size)
        self.k = nn.Linear(config.hidden_size, config.hidden_size)
        self.v = nn.Linear(config.hidden_size, config.hidden_size)
        self.o = nn.Linear(config.hidden_size, config.hidden_size)

    def __call__(self, x: mx.array, bias: mx.array) -> mx.array:
        """Attend from every row."""
        q, k, v = (split_heads(y, self._heads) for y in (self.q(x), self.k(x), self.v(x)))
        attended = mx.fast.scaled_dot_product_attention(q, k, v, scale=q.shape[-1] ** -0.5, mask=bias.astype(q.dtype))
        return self.o(merge_heads(attended))


class Attention(nn.Module):
    """Attention, residual and norm."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.attn = SelfAttention(config)
        self.LayerNorm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)

    def __call__(self, x: mx.array, bias: mx.array) -> mx.array:
        """Compute every row."""
        return self.LayerNorm(self.attn(x, bias) + x)


class Layer(nn.Module):
    """One layer: attention and MLP, each added and normalised after."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.attention = Attention(config)
        self.intermediate = Intermediate(config)
        self.output = AddNorm(config.intermediate_size, config.hidden_size, config.layer_norm_eps)

    def __call__(self, x: mx.array, bias: mx.array) -> mx.array:
        """Compute every row."""
        x = self.attention(x, bias)
        return self.output(self.intermediate(x), x)


class Encoder(nn.Module):
    """The stack of layers, and the biases that they share."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.layer = [Layer(config) for _ in range(config.num_hidden_layers)]
        self.relative_attention_bias = nn.Embedding(BUCKETS, config.num_attention_heads)

    def biases(self, tokens: int) -> mx.array:
        """Return the bias of each query's distance to each key: (1, heads, tokens, tokens)."""
        place = mx.arange(tokens)
        offset = place[None] - place[:, None] + (tokens - 1)
        return self.relative_attention_bias(mx.array(buckets(tokens))[offset]).transpose(2, 0, 1)[None]


class Model(nn.Module):
    """All layers, in each of which every row is computed, whatever the pooling."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.causal = False
        self.max_positions, self.vocab_size = config.positions, config.vocab_size
        self.embeddings = Embeddings(config)
        self.encoder = Encoder(config)

    def __call__(self, ids: mx.array, lengths: mx.array, padded: bool, pooling: Pooling) -> mx.array:
        """Return the hidden states that the pooling needs."""
        bias = self.encoder.biases(ids.shape[1])
        if padded:
            bias = mx.where(key_mask(lengths, ids.shape[1]), bias, -mx.inf)
        x = self.embeddings(ids)
        for layer in self.encoder.layer:
            x = layer(x, bias)
        row = {"last": lengths - 1, "first": mx.zeros_like(lengths)}.get(pooling)
        return x if row is None else take_row(x, row)[:, 0]
