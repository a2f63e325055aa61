"""NomicBERT (Nussbaum et al. 2024, arXiv 2402.01613) as transformers' NomicBertModel computes it, token type 0."""

from __future__ import annotations

import mlx.core as mx
from mlx import nn

from edge_embed.architectures.nomic_bert import Config
from edge_embed.spec.model import Pooling

from ._attention import attend, merge_heads, split_heads, take_row
from .bert import through

SENSITIVE_LAYERS = ("attn.Wqkv", "attn.out_proj")


class Embeddings(nn.Module):
    """Tables of words and of their types."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.word_embeddings = nn.Embedding(config.vocab_size, config.hidden_size)
        self.token_type_embeddings = nn.Embedding(config.type_vocab_size, config.hidden_size)

    def __call__(self, ids: mx.array) -> mx.array:
        """Look up (batch, tokens), and add the one type -> (batch, tokens, dim)."""
        return self.word_embeddings(ids) + self.token_type_embeddings(mx.array([0]))


class Attention(nn.Module):
    """Multi-head attention with rotary positions (Su et al. 2021, arXiv 2104.09864)."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self._config = config
        self.Wqkv = nn.Linear(config.hidden_size, 3 * config.hidden_size, bias=False)
        self.out_proj = nn.Linear(config.hidden_size, config.hidden_size, bias=False)

    def __call__(self, x: mx.array, mask: mx.array | None, row: mx.array | None) -> mx.array:
        """Attend from every row, or from one row of each text to all of its text."""
        q, k, v = mx.split(self.Wqkv(x), 3, axis=-1)
        q = self._rotate(q if row is None else take_row(q, row), 0 if row is None else row)
        return self.out_proj(
            merge_heads(attend(q, self._rotate(k, 0), split_heads(v, self._config.num_attention_heads), mask))
        )

    def _rotate(self, x: mx.array, first: int | mx.array) -> mx.array:
        heads = split_heads(x, self._config.num_attention_heads)
        theta = self._config.rope_theta
        return mx.fast.rope(heads, self._config.head_dim, traditional=False, base=theta, scale=1.0, offset=first)


class MLP(nn.Module):
    """SwiGLU (Shazeer 2020, arXiv 2002.05202); `fc12` is the gate."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.fc11 = nn.Linear(config.hidden_size, config.intermediate_size, bias=False)
        self.fc12 = nn.Linear(config.hidden_size, config.intermediate_size, bias=False)
        self.fc2 = nn.Linear(config.intermediate_size, config.hidden_size, bias=False)

    def __call__(self, x: mx.array) -> mx.array:
        """Gate, multiply, project back."""
        return self.fc2(self.fc11(x) * nn.silu(self.fc12(x)))


class Layer(nn.Module):
    """One layer: attention and MLP, each added and normalised after."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.attn, self.mlp = Attention(config), MLP(config)
        self.norm1 = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.norm2 = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)

    def __call__(self, x: mx.array, mask: mx.array | None, row: mx.array | None) -> mx.array:
        """Compute every row, or with `row` (batch,) only that one of each text: (batch, 1, dim)."""
        x = self.norm1(self.attn(x, mask, row) + (x if row is None else take_row(x, row)))
        return self.norm2(self.mlp(x) + x)


class Encoder(nn.Module):
    """The stack of layers."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.layers = [Layer(config) for _ in range(config.num_hidden_layers)]


class Model(nn.Module):
    """All layers; where the pooling takes one row, the last layer computes it alone."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.causal = False
        self.max_positions, self.vocab_size = None, config.vocab_size
        self.embeddings = Embeddings(config)
        self.emb_ln = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.encoder = Encoder(config)

    def __call__(self, ids: mx.array, lengths: mx.array, padded: bool, pooling: Pooling) -> mx.array:
        """Return the hidden states that the pooling needs."""
        x = self.emb_ln(self.embeddings(ids))
        return through(self.encoder.layers, x, lengths, padded, pooling)
