"""What Llama-like encoders and decoders share: RMSNorm, rotary positions, SwiGLU, a last layer for one row."""

from __future__ import annotations

from collections.abc import Sequence

import mlx.core as mx
from mlx import nn

from edge_embed.architectures._llama import Config
from edge_embed.spec.model import Pooling

from ._attention import attend, key_mask, merge_heads, rotate, split_heads, take_row

KeysValues = tuple[mx.array, mx.array]  # (1, key heads, tokens, head_dim) each
ImageRows = tuple[int, int, mx.array]  # which text, the place of its first row, rows (n, dim)
SENSITIVE_LAYERS = ("v_proj", "o_proj")  # 4 bits cost 0.021 of the cosine on the miniatures, 0.006 with 6 bits here


class Attention(nn.Module):
    """Grouped-query attention with rotary positions (Su et al. 2021, arXiv 2104.09864)."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        dim, head_dim = config.hidden_size, config.head_dim
        self._config = config
        self.q_proj = nn.Linear(dim, config.num_attention_heads * head_dim, bias=config.qkv_bias)
        self.k_proj = nn.Linear(dim, config.num_key_value_heads * head_dim, bias=config.qkv_bias)
        self.v_proj = nn.Linear(dim, config.num_key_value_heads * head_dim, bias=config.qkv_bias)
        self.o_proj = nn.Linear(config.num_attention_heads * head_dim, dim, bias=False)
        if config.qk_norm:
            self.q_norm = nn.RMSNorm(head_dim, eps=config.rms_norm_eps)
            self.k_norm = nn.RMSNorm(head_dim, eps=config.rms_norm_eps)

    def __call__(
        self, x: mx.array, mask: mx.array | None, row: mx.array | None, past: KeysValues | None = None
    ) -> mx.array:
        """Attend from every row, or from one row of each text to all of its text, and to what is `past` before it."""
        start = 0 if past is None else past[0].shape[2]
        q = split_heads(self.q_proj(x if row is None else take_row(x, row)), self._config.num_attention_heads)
        q = self._rotate(self.q_norm(q) if "q_norm" in self else q, start if row is None else row + start)
        k, v = self.keys_values(x, start)
        if past is not None:
            k, v = (
                mx.concatenate([mx.repeat(a, len(b), axis=0), b], axis=2) for a, b in zip(past, (k, v), strict=True)
            )
        # Padding lies after every real row, so a causal model needs no mask of its own for it.
        return self.o_proj(merge_heads(attend(q, k, v, "causal" if self._config.causal and row is None else mask)))

    def keys_values(self, x: mx.array, start: int = 0) -> KeysValues:
        """Return keys and values of rows of which the first has the place `start`."""
        k, v = (split_heads(part(x), self._config.num_key_value_heads) for part in (self.k_proj, self.v_proj))
        return self._rotate(self.k_norm(k) if "k_norm" in self else k, start), v

    def _rotate(self, x: mx.array, offset: int | mx.array) -> mx.array:
        return rotate(x, self._config.rope_theta, self._config.rope_divisor, offset)


class MLP(nn.Module):
    """SwiGLU (Shazeer 2020, arXiv 2002.05202)."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.gate_proj = nn.Linear(config.hidden_size, config.intermediate_size, bias=False)
        self.up_proj = nn.Linear(config.hidden_size, config.intermediate_size, bias=False)
        self.down_proj = nn.Linear(config.intermediate_size, config.hidden_size, bias=False)

    def __call__(self, x: mx.array) -> mx.array:
        """Gate, multiply, project back."""
        return self.down_proj(nn.silu(self.gate_proj(x)) * self.up_proj(x))


class Layer(nn.Module):
    """One layer: attention and MLP, each normalised before and added."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.self_attn = Attention(config)
        self.mlp = MLP(config)
        self.input_layernorm = nn.RMSNorm(config.hidden_size, eps=config.rms_norm_eps)
        self.post_attention_layernorm = nn.RMSNorm(config.hidden_size, eps=config.rms_norm_eps)

    def __call__(
        self, x: mx.array, mask: mx.array | None, row: mx.array | None, past: KeysValues | None = None
    ) -> mx.array:
        """Compute every row, or with `row` (batch,) only that one of each text: (batch, 1, dim)."""
        attended = self.self_attn(self.input_layernorm(x), mask, row, past)
        x = (x if row is None else take_row(x, row)) + attended
        return x + self.mlp(self.post_attention_layernorm(x))


class Transformer(nn.Module):
    """All layers; where the pooling takes one row, the last layer computes queries and MLP for it alone."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.causal = config.causal
        self.max_positions, self.vocab_size = config.window, config.vocab_size
        self.embed_tokens = nn.Embedding(config.vocab_size, config.hidden_size)
        self.layers = [Layer(config) for _ in range(config.num_hidden_layers)]
        self.norm = nn.RMSNorm(config.hidden_size, eps=config.rms_norm_eps)

    def __call__(
        self,
        ids: mx.array,
        lengths: mx.array,
        padded: bool,
        pooling: Pooling,
        image_rows: Sequence[ImageRows] = (),
        past: Sequence[KeysValues] = (),
    ) -> mx.array:
        """Return the hidden states that the pooling needs; `image_rows` are read instead of embeddings.

        `past`, of each layer, are the keys and values of what all texts begin with and the ids leave out: see `prefix`.
        """
        start = past[0][0].shape[2] if past else 0
        mask = key_mask(lengths + start, ids.shape[1] + start) if padded else None
        row = {"last": lengths - 1, "first": None if self.causal else mx.zeros_like(lengths)}.get(pooling)
        x = self.embed_tokens(ids)
        for text, at, rows in image_rows:
            x[text, at : at + len(rows)] = rows.astype(x.dtype)
        before: Sequence[KeysValues | None] = past or [None] * len(self.layers)
        *inner, last = zip(self.layers, before, strict=True)
        for layer, known in inner:
            x = layer(x, mask, None, known)
        layer, known = last
        x = self.norm(layer(x, mask, row, known))
        return x if row is None else x[:, 0]

    def prefix(self, ids: mx.array) -> list[KeysValues]:
        """Compute the keys and values of each layer for ids (1, tokens) that many texts begin with; causal models."""
        x, out = self.embed_tokens(ids), []
        for layer in self.layers:
            out.append(layer.self_attn.keys_values(layer.input_layernorm(x)))
            x = layer(x, None, None)
        mx.eval(out)
        return out
