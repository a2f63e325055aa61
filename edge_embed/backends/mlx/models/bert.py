"""BERT (Devlin et al. 2018, arXiv 1810.04805) as transformers' BertModel computes it, token type 0 throughout."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import mlx.core as mx
from mlx import nn

from edge_embed.architectures.bert import Config
from edge_embed.spec.model import Pooling

from ._attention import attend, key_mask, merge_heads, split_heads, take_row

SENSITIVE_LAYERS = ("attention.self.value", "attention.output.dense")
ACTIVATIONS = {"gelu": nn.gelu, "gelu_new": nn.gelu_approx, "gelu_pytorch_tanh": nn.gelu_approx, "silu": nn.silu}


class Embeddings(nn.Module):
    """Add word, position and the one token type, where there is one, and normalise."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.word_embeddings = nn.Embedding(config.vocab_size, config.hidden_size)
        self._first = config.first_position
        self.position_embeddings = nn.Embedding(config.max_position_embeddings, config.hidden_size)
        if config.type_vocab_size:
            self.token_type_embeddings = nn.Embedding(config.type_vocab_size, config.hidden_size)
        self.LayerNorm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)

    def __call__(self, ids: mx.array) -> mx.array:
        """Look up (batch, tokens) -> (batch, tokens, dim)."""
        rows = mx.arange(self._first, self._first + ids.shape[1])
        positions = self.position_embeddings(rows)
        if "token_type_embeddings" in self:
            positions = positions + self.token_type_embeddings(mx.array([0]))
        return self.LayerNorm(self.word_embeddings(ids) + positions)


class SelfAttention(nn.Module):
    """Multi-head attention before its output projection."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self._heads = config.num_attention_heads
        self.query = nn.Linear(config.hidden_size, config.hidden_size)
        self.key = nn.Linear(config.hidden_size, config.hidden_size)
        self.value = nn.Linear(config.hidden_size, config.hidden_size)

    def __call__(self, x: mx.array, mask: mx.array | None, row: mx.array | None) -> mx.array:
        """Attend from every row, or from one row of each text to all of its text."""
        q = self.query(x if row is None else take_row(x, row))
        q, k, v = (split_heads(y, self._heads) for y in (q, self.key(x), self.value(x)))
        return merge_heads(attend(q, k, v, mask))


class AddNorm(nn.Module):
    """Project, add the residual, normalise."""

    def __init__(self, size: int, dim: int, epsilon: float) -> None:
        super().__init__()
        self.dense = nn.Linear(size, dim)
        self.LayerNorm = nn.LayerNorm(dim, eps=epsilon)

    def __call__(self, x: mx.array, residual: mx.array) -> mx.array:
        """Return (batch, tokens, dim)."""
        return self.LayerNorm(self.dense(x) + residual)


class Attention(nn.Module):
    """Attention, its output projection, residual and norm."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.self = SelfAttention(config)
        self.output = AddNorm(config.hidden_size, config.hidden_size, config.layer_norm_eps)

    def __call__(self, x: mx.array, mask: mx.array | None, row: mx.array | None) -> mx.array:
        """Compute every row, or one row of each text."""
        return self.output(self.self(x, mask, row), x if row is None else take_row(x, row))


class Intermediate(nn.Module):
    """The first half of the MLP."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self._activation = ACTIVATIONS[config.hidden_act]
        self.dense = nn.Linear(config.hidden_size, config.intermediate_size)

    def __call__(self, x: mx.array) -> mx.array:
        """Project and activate."""
        return self._activation(self.dense(x))


class Layer(nn.Module):
    """One layer: attention and MLP, each added and normalised after."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.attention = Attention(config)
        self.intermediate = Intermediate(config)
        self.output = AddNorm(config.intermediate_size, config.hidden_size, config.layer_norm_eps)

    def __call__(self, x: mx.array, mask: mx.array | None, row: mx.array | None) -> mx.array:
        """Compute every row, or with `row` (batch,) only that one of each text: (batch, 1, dim)."""
        x = self.attention(x, mask, row)
        return self.output(self.intermediate(x), x)


class Encoder(nn.Module):
    """The stack of layers."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.layer = [Layer(config) for _ in range(config.num_hidden_layers)]


def through(layers: Sequence[Any], x: mx.array, lengths: mx.array, padded: bool, pooling: Pooling) -> mx.array:
    """Compute the layers, and of the last one the rows that the pooling needs."""
    mask = key_mask(lengths, x.shape[1]) if padded else None
    row = {"last": lengths - 1, "first": mx.zeros_like(lengths)}.get(pooling)
    *inner, last = layers
    for layer in inner:
        x = layer(x, mask, None)
    x = last(x, mask, row)
    return x if row is None else x[:, 0]


class Model(nn.Module):
    """All layers; where the pooling takes one row, the last layer computes it alone."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.causal = False
        self.max_positions, self.vocab_size = config.positions, config.vocab_size
        self.embeddings = Embeddings(config)
        self.encoder = Encoder(config)

    def __call__(self, ids: mx.array, lengths: mx.array, padded: bool, pooling: Pooling) -> mx.array:
        """Return the hidden states that the pooling needs."""
        return through(self.encoder.layer, self.embeddings(ids), lengths, padded, pooling)
