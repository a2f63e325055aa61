"""Encoders that norm after each addition, as BERT does, with rotary positions or ALiBi; token type 0 throughout."""

from __future__ import annotations

import mlx.core as mx
from mlx import nn

from edge_embed.architectures._post_norm import Config
from edge_embed.spec.model import Pooling

from . import _alibi
from ._attention import attend, merge_heads, rotate, split_heads, take_row
from .bert import ACTIVATIONS, through

SENSITIVE_LAYERS = ("self_attn.v_proj", "self_attn.o_proj")


class Embeddings(nn.Module):
    """Add word and the one token type, where there is one, and normalise."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.word_embeddings = nn.Embedding(config.vocab_size, config.hidden_size)
        if config.type_vocab_size:
            self.token_type_embeddings = nn.Embedding(config.type_vocab_size, config.hidden_size)
        self.LayerNorm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)

    def __call__(self, ids: mx.array) -> mx.array:
        """Look up (batch, tokens) -> (batch, tokens, dim)."""
        x = self.word_embeddings(ids)
        if "token_type_embeddings" in self:
            x = x + self.token_type_embeddings(mx.array([0]))
        return self.LayerNorm(x)


class Attention(nn.Module):
    """Multi-head attention with its output projection."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        dim = config.hidden_size
        self._config = config
        self._slopes = None if config.rotary else _alibi.head_slopes(config.num_attention_heads)
        self.q_proj, self.k_proj, self.v_proj, self.o_proj = (nn.Linear(dim, dim, bias=config.biases) for _ in range(4))
        if config.qk_norm:
            self.q_norm, self.k_norm = (nn.LayerNorm(dim, eps=config.layer_norm_eps) for _ in "qk")

    def __call__(self, x: mx.array, mask: mx.array | None, row: mx.array | None) -> mx.array:
        """Attend from every row, or from one row of each text to all of its text."""
        q, k = self.q_proj(x if row is None else take_row(x, row)), self.k_proj(x)
        if self._config.qk_norm:
            q, k = self.q_norm(q), self.k_norm(k)
        q, k, v = (split_heads(y, self._config.num_attention_heads) for y in (q, k, self.v_proj(x)))
        if self._slopes is not None:
            return self.o_proj(merge_heads(_alibi.attend(q, k, v, self._slopes, mask)))
        q, k = self._rotate(q, 0 if row is None else row), self._rotate(k, 0)
        return self.o_proj(merge_heads(attend(q, k, v, mask)))

    def _rotate(self, x: mx.array, offset: int | mx.array) -> mx.array:
        return rotate(x, self._config.rope_theta, self._config.rope_divisor, offset)


class GatedMLP(nn.Module):
    """What is activated scales another product (Shazeer 2020, arXiv 2002.05202)."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        dim, inner = config.hidden_size, config.intermediate_size
        self._activation = ACTIVATIONS[config.hidden_act]
        self.gate_proj, self.up_proj = (nn.Linear(dim, inner, bias=False) for _ in range(2))
        self.down_proj = nn.Linear(inner, dim, bias=config.biases)

    def __call__(self, x: mx.array) -> mx.array:
        """Gate, multiply, project back."""
        return self.down_proj(self._activation(self.gate_proj(x)) * self.up_proj(x))


class MLP(nn.Module):
    """The MLP without a gate."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self._activation = ACTIVATIONS[config.hidden_act]
        self.fc1 = nn.Linear(config.hidden_size, config.intermediate_size)
        self.fc2 = nn.Linear(config.intermediate_size, config.hidden_size)

    def __call__(self, x: mx.array) -> mx.array:
        """Project, activate, project back."""
        return self.fc2(self._activation(self.fc1(x)))


class Layer(nn.Module):
    """One layer: attention and MLP, each added and normalised after; with `qk_norm` attention is added twice."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.self_attn = Attention(config)
        self.mlp = GatedMLP(config) if config.gated else MLP(config)
        names = ["post_attention_layernorm", "post_mlp_layernorm"]
        for name in [*names, *(["post_attention_layernorm_2"] if config.qk_norm else [])]:
            self[name] = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)

    def __call__(self, x: mx.array, mask: mx.array | None, row: mx.array | None) -> mx.array:
        """Compute every row, or with `row` (batch,) only that one of each text: (batch, 1, dim)."""
        residual = x if row is None else take_row(x, row)
        x = self.post_attention_layernorm(residual + self.self_attn(x, mask, row))
        if "post_attention_layernorm_2" in self:
            x = self.post_attention_layernorm_2(residual + x)
        return self.post_mlp_layernorm(x + self.mlp(x))


class Model(nn.Module):
    """All layers; with rotary positions, and where the pooling takes one row, the last layer computes it alone."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.causal = False
        self.max_positions, self.vocab_size = None, config.vocab_size
        self._rotary = config.rotary
        self.embeddings = Embeddings(config)
        self.layers = [Layer(config) for _ in range(config.num_hidden_layers)]

    def __call__(self, ids: mx.array, lengths: mx.array, padded: bool, pooling: Pooling) -> mx.array:
        """Return the hidden states that the pooling needs."""
        x = self.embeddings(ids)
        if self._rotary or pooling not in ("first", "last"):
            return through(self.layers, x, lengths, padded, pooling)
        x = through(self.layers, x, lengths, padded, "mean")
        return take_row(x, lengths - 1 if pooling == "last" else mx.zeros_like(lengths))[:, 0]
