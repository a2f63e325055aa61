"""Gemma 3's text model as transformers' Gemma3TextModel computes it, no LM head; EmbeddingGemma."""

from __future__ import annotations

from dataclasses import replace

import mlx.core as mx
from mlx import nn

from edge_embed.architectures.gemma3_text import Config
from edge_embed.spec.model import Pooling

from . import _llama, _local
from ._attention import key_mask, merge_heads, split_heads, take_row

SENSITIVE_LAYERS = _llama.SENSITIVE_LAYERS


class Norm(nn.RMSNorm):
    """RMSNorm (Zhang & Sennrich 2019, arXiv 1910.07467) whose gain is its weight and 1, times `scale`."""

    def __init__(self, size: int, eps: float, scale: float = 1) -> None:
        super().__init__(size, eps)
        self._scale = scale

    def __call__(self, x: mx.array) -> mx.array:
        """Normalise the last axis."""
        return mx.fast.rms_norm(x, (1 + self.weight) * self._scale, self.eps)


class MLP(_llama.MLP):
    """GeGLU (Shazeer 2020, arXiv 2002.05202), of which GELU is computed with tanh."""

    def __call__(self, x: mx.array) -> mx.array:
        """Gate, multiply, project back."""
        return self.down_proj(nn.gelu_approx(self.gate_proj(x)) * self.up_proj(x))


class Attention(_llama.Attention):
    """Attention to all of a text or to neighbours, with queries and keys that are normed as Gemma norms."""

    def __init__(self, config: Config, number: int) -> None:
        super().__init__(replace(config.of_layer(number), qk_norm=False))
        self.q_norm = Norm(config.head_dim, config.rms_norm_eps, float(config.query_scale))
        self.k_norm = Norm(config.head_dim, config.rms_norm_eps)
        self._window = (config.before, config.after) if config.windowed[number] else None

    def within(self, x: mx.array, lengths: mx.array | None) -> mx.array:
        """Attend from every row; `lengths` (batch,) of texts that are padded on the right, else None."""
        mask = None if lengths is None else key_mask(lengths, x.shape[1])
        if self._window is None or x.shape[1] <= self._window[0] + 1:
            return self(x, mask, None)
        q = self._rotate(self.q_norm(split_heads(self.q_proj(x), self._config.num_attention_heads)), 0)
        k, v = self.keys_values(x)
        return self.o_proj(merge_heads(_local.attend(q, k, v, lengths, *self._window)))


class Layer(nn.Module):
    """One layer: attention and MLP, each normalised before and after, and added."""

    def __init__(self, config: Config, number: int) -> None:
        super().__init__()
        self.self_attn = Attention(config, number)
        self.mlp = MLP(config)
        self.input_layernorm = Norm(config.hidden_size, config.rms_norm_eps)
        self.post_attention_layernorm = Norm(config.hidden_size, config.rms_norm_eps)
        self.pre_feedforward_layernorm = Norm(config.hidden_size, config.rms_norm_eps)
        self.post_feedforward_layernorm = Norm(config.hidden_size, config.rms_norm_eps)

    def __call__(self, x: mx.array, lengths: mx.array | None) -> mx.array:
        """Compute every row."""
        x = x + self.post_attention_layernorm(self.self_attn.within(self.input_layernorm(x), lengths))
        return x + self.post_feedforward_layernorm(self.mlp(self.pre_feedforward_layernorm(x)))


class Model(nn.Module):
    """All layers, in each of which every row is computed, whatever the pooling."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.causal = False  # no text's beginning is computed once: keys and values would need places in windows
        self.max_positions, self.vocab_size = None, config.vocab_size
        self._scale = float(config.embedding_scale)
        self.embed_tokens = nn.Embedding(config.vocab_size, config.hidden_size)
        self.layers = [Layer(config, n) for n in range(config.num_hidden_layers)]
        self.norm = Norm(config.hidden_size, config.rms_norm_eps)

    def __call__(self, ids: mx.array, lengths: mx.array, padded: bool, pooling: Pooling) -> mx.array:
        """Return the hidden states that the pooling needs."""
        x = self.embed_tokens(ids)
        x = (x.astype(mx.float32) * self._scale).astype(x.dtype)  # bfloat16 would make 27.75 of 27.71
        for layer in self.layers:
            x = layer(x, lengths if padded else None)
        x = self.norm(x)
        row = {"last": lengths - 1, "first": mx.zeros_like(lengths)}.get(pooling)
        return x if row is None else take_row(x, row)[:, 0]
