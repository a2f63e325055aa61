"""ModernBERT (Warner et al. 2024, arXiv 2412.13663) as transformers' ModernBertModel computes it."""

from __future__ import annotations

import mlx.core as mx
from mlx import nn

from edge_embed.architectures.modernbert import Config
from edge_embed.spec.model import Pooling

from . import _local
from ._attention import attend, key_mask, merge_heads, rotate, split_heads, take_row
from .bert import ACTIVATIONS

SENSITIVE_LAYERS = ("attn.Wqkv", "attn.Wo")


class Embeddings(nn.Module):
    """The table of words, normalised."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.tok_embeddings = nn.Embedding(config.vocab_size, config.hidden_size)
        self.norm = _norm(config)

    def __call__(self, ids: mx.array) -> mx.array:
        """Look up (batch, tokens) -> (batch, tokens, dim)."""
        return self.norm(self.tok_embeddings(ids))


class Attention(nn.Module):
    """Multi-head attention with rotary positions (Su et al. 2021, arXiv 2104.09864), to all tokens or to neighbours."""

    def __init__(self, config: Config, local: bool) -> None:
        super().__init__()
        self._heads = config.num_attention_heads
        self._theta = config.local_theta if local else config.theta
        self._reach = config.reach if local else None
        self.Wqkv = nn.Linear(config.hidden_size, 3 * config.hidden_size, bias=config.attention_bias)
        self.Wo = nn.Linear(config.hidden_size, config.hidden_size, bias=config.attention_bias)

    def __call__(self, x: mx.array, lengths: mx.array | None) -> mx.array:
        """Attend from every row; `lengths` (batch,) of texts that are padded, else None."""
        q, k, v = (split_heads(part, self._heads) for part in mx.split(self.Wqkv(x), 3, axis=-1))
        q, k = rotate(q, self._theta), rotate(k, self._theta)
        if self._reach is None:
            mask = None if lengths is None else key_mask(lengths, x.shape[1])
            return self.Wo(merge_heads(attend(q, k, v, mask)))
        return self.Wo(merge_heads(_local.attend(q, k, v, lengths, self._reach, self._reach)))


class MLP(nn.Module):
    """A gated MLP (Shazeer 2020, arXiv 2002.05202), both of its inputs in one matrix."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self._activation = ACTIVATIONS[config.hidden_activation]
        self.Wi = nn.Linear(config.hidden_size, 2 * config.intermediate_size, bias=config.mlp_bias)
        self.Wo = nn.Linear(config.intermediate_size, config.hidden_size, bias=config.mlp_bias)

    def __call__(self, x: mx.array) -> mx.array:
        """Gate, multiply, project back."""
        given, gate = mx.split(self.Wi(x), 2, axis=-1)
        return self.Wo(self._activation(given) * gate)


class Layer(nn.Module):
    """One layer: attention and MLP, each normalised before and added; the first has its norm from the table."""

    def __init__(self, config: Config, n: int) -> None:
        super().__init__()
        if n:
            self.attn_norm = _norm(config)
        self.attn = Attention(config, config.local[n])
        self.mlp_norm = _norm(config)
        self.mlp = MLP(config)

    def __call__(self, x: mx.array, lengths: mx.array | None) -> mx.array:
        """Compute every row."""
        x = x + self.attn(self.attn_norm(x) if "attn_norm" in self else x, lengths)
        return x + self.mlp(self.mlp_norm(x))


class Model(nn.Module):
    """All layers, in each of which every row is computed, whatever the pooling."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.causal = False
        self.max_positions, self.vocab_size = None, config.vocab_size
        self.embeddings = Embeddings(config)
        self.layers = [Layer(config, n) for n in range(config.num_hidden_layers)]
        self.final_norm = _norm(config)

    def __call__(self, ids: mx.array, lengths: mx.array, padded: bool, pooling: Pooling) -> mx.array:
        """Return the hidden states that the pooling needs."""
        x = self.embeddings(ids)
        for layer in self.layers:
            x = layer(x, lengths if padded else None)
        row = {"last": lengths - 1, "first": mx.zeros_like(lengths)}.get(pooling)
        return self.final_norm(x if row is None else take_row(x, row)[:, 0])


def _norm(config: Config) -> nn.LayerNorm:
    return nn.LayerNorm(config.hidden_size, eps=config.norm_eps, bias=config.norm_bias)
