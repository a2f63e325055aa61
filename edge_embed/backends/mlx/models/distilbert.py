"""DistilBERT (Sanh et al. 2019, arXiv 1910.01108) as transformers' DistilBertModel computes it."""

from __future__ import annotations

import mlx.core as mx
from mlx import nn

from edge_embed.architectures.distilbert import Config
from edge_embed.spec.model import Pooling

from ._attention import attend, merge_heads, split_heads, take_row
from .bert import ACTIVATIONS, Embeddings, through

SENSITIVE_LAYERS = ("attention.v_lin", "attention.out_lin")


class Attention(nn.Module):
    """Multi-head attention with its output projection."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self._heads = config.num_attention_heads
        self.q_lin = nn.Linear(config.hidden_size, config.hidden_size)
        self.k_lin = nn.Linear(config.hidden_size, config.hidden_size)
        self.v_lin = nn.Linear(config.hidden_size, config.hidden_size)
        self.out_lin = nn.Linear(config.hidden_size, config.hidden_size)

    def __call__(self, queries: mx.array, x: mx.array, mask: mx.array | None) -> mx.array:
        """Attend from the rows `queries` to all of x."""
        projected = self.q_lin(queries), self.k_lin(x), self.v_lin(x)
        q, k, v = (split_heads(y, self._heads) for y in projected)
        return self.out_lin(merge_heads(attend(q, k, v, mask)))


class FeedForward(nn.Module):
    """The MLP."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self._activation = ACTIVATIONS[config.hidden_act]
        self.lin1 = nn.Linear(config.hidden_size, config.intermediate_size)
        self.lin2 = nn.Linear(config.intermediate_size, config.hidden_size)

    def __call__(self, x: mx.array) -> mx.array:
        """Project, activate, project back."""
        return self.lin2(self._activation(self.lin1(x)))


class Layer(nn.Module):
    """One layer: attention and MLP, each added and normalised after."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.attention, self.ffn = Attention(config), FeedForward(config)
        self.sa_layer_norm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.output_layer_norm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)

    def __call__(self, x: mx.array, mask: mx.array | None, row: mx.array | None) -> mx.array:
        """Compute every row, or with `row` (batch,) only that one of each text: (batch, 1, dim)."""
        queries = x if row is None else take_row(x, row)
        x = self.sa_layer_norm(self.attention(queries, x, mask) + queries)
        return self.output_layer_norm(self.ffn(x) + x)


class Transformer(nn.Module):
    """The stack of layers."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.layer = [Layer(config) for _ in range(config.num_hidden_layers)]


class Model(nn.Module):
    """All layers; where the pooling takes one row, the last layer computes it alone."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.causal = False
        self.max_positions, self.vocab_size = config.positions, config.vocab_size
        self.embeddings = Embeddings(config)
        self.transformer = Transformer(config)

    def __call__(self, ids: mx.array, lengths: mx.array, padded: bool, pooling: Pooling) -> mx.array:
        """Return the hidden states that the pooling needs."""
        return through(self.transformer.layer, self.embeddings(ids), lengths, padded, pooling)
