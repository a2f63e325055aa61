"""What Llama-like encoders and decoders share: RMSNorm, rotary positions, SwiGLU, a last layer for one row."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import mlx.core as mx
from mlx import nn

from edge_embed.architectures.config import check_config, rope_of
from edge_embed.errors import CorruptModelError, UnsupportedModelError
from edge_embed.spec.model import Pooling

from ._attention import attend, key_mask, merge_heads, split_heads, take_row

ALLOWED = {
    "hidden_act": ("silu",),
    "attention_bias": (False,),
    "mlp_bias": (False,),
    "use_sliding_window": (False, None),
}
NEEDED = ("hidden_size", "intermediate_size", "num_attention_heads", "num_hidden_layers", "rms_norm_eps", "vocab_size")
PREFIXES = ("model.",)
UNUSED = ("lm_head.",)
KeysValues = tuple[mx.array, mx.array]  # (1, key heads, tokens, head_dim) each
Inserted = tuple[int, int, mx.array]  # which text, the place of its first row, rows (n, dim)
FINER = ("v_proj", "o_proj")  # 4 bits cost 0.021 of the cosine on the miniatures, 0.006 with 6 bits here


@dataclass(frozen=True, kw_only=True)
class Config:
    """The numbers of config.json that shape a model; `rope_scale` is what positions are multiplied by."""

    hidden_size: int
    intermediate_size: int
    num_hidden_layers: int
    num_attention_heads: int
    num_key_value_heads: int
    head_dim: int
    rms_norm_eps: float
    vocab_size: int
    rope_theta: float
    rope_scale: float


def read(config: Mapping[str, Any]) -> Config:
    """Read and check the numbers; raises for values that would change the vectors and are not implemented."""
    check_config(config, ALLOWED, NEEDED)
    if set(config.get("layer_types") or ()) - {"full_attention"}:
        raise UnsupportedModelError(f"config.json: layer_types={config['layer_types']} is not implemented")
    heads = config["num_attention_heads"]
    kv_heads = config.get("num_key_value_heads") or heads
    head_dim = config.get("head_dim") or config["hidden_size"] // heads
    if heads % kv_heads or head_dim % 2:
        raise CorruptModelError(f"config.json: {heads} heads do not share {kv_heads} key heads of {head_dim}")
    theta, divisor = rope_of(config)
    return Config(
        hidden_size=config["hidden_size"],
        intermediate_size=config["intermediate_size"],
        num_hidden_layers=config["num_hidden_layers"],
        num_attention_heads=heads,
        num_key_value_heads=kv_heads,
        head_dim=head_dim,
        rms_norm_eps=config["rms_norm_eps"],
        vocab_size=config["vocab_size"],
        rope_theta=theta,
        rope_scale=1 / divisor,
    )


class Attention(nn.Module):
    """Grouped-query attention with rotary positions (Su et al. 2021, arXiv 2104.09864)."""

    def __init__(self, config: Config, qk_norm: bool, causal: bool) -> None:
        super().__init__()
        dim, head_dim = config.hidden_size, config.head_dim
        self._config, self._causal = config, causal
        self.q_proj = nn.Linear(dim, config.num_attention_heads * head_dim, bias=False)
        self.k_proj = nn.Linear(dim, config.num_key_value_heads * head_dim, bias=False)
        self.v_proj = nn.Linear(dim, config.num_key_value_heads * head_dim, bias=False)
        self.o_proj = nn.Linear(config.num_attention_heads * head_dim, dim, bias=False)
        if qk_norm:
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
        return self.o_proj(merge_heads(attend(q, k, v, "causal" if self._causal and row is None else mask)))

    def keys_values(self, x: mx.array, start: int = 0) -> KeysValues:
        """Return keys and values of rows of which the first has the place `start`."""
        k, v = (split_heads(part(x), self._config.num_key_value_heads) for part in (self.k_proj, self.v_proj))
        return self._rotate(self.k_norm(k) if "k_norm" in self else k, start), v

    def _rotate(self, x: mx.array, offset: int | mx.array) -> mx.array:
        config = self._config
        return mx.fast.rope(
            x,
            config.head_dim,
            traditional=False,
            base=config.rope_theta,
            scale=config.rope_scale,
            offset=offset,
        )


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

    def __init__(self, config: Config, qk_norm: bool, causal: bool) -> None:
        super().__init__()
        self.self_attn = Attention(config, qk_norm, causal)
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

    def __init__(self, config: Config, *, qk_norm: bool, causal: bool) -> None:
        super().__init__()
        self.causal = causal
        self.max_positions, self.vocab_size = None, config.vocab_size
        self.embed_tokens = nn.Embedding(config.vocab_size, config.hidden_size)
        self.layers = [Layer(config, qk_norm, causal) for _ in range(config.num_hidden_layers)]
        self.norm = nn.RMSNorm(config.hidden_size, eps=config.rms_norm_eps)

    def __call__(
        self,
        ids: mx.array,
        lengths: mx.array,
        padded: bool,
        pooling: Pooling,
        inserted: Sequence[Inserted] = (),
        past: Sequence[KeysValues] = (),
    ) -> mx.array:
        """Return the hidden states that the pooling needs; `inserted` rows stand in the place of embeddings.

        `past`, of each layer, are the keys and values of what all texts begin with and the ids leave out: see `prefix`.
        """
        start = past[0][0].shape[2] if past else 0
        mask = key_mask(lengths + start, ids.shape[1] + start) if padded else None
        row = {"last": lengths - 1, "first": None if self.causal else mx.zeros_like(lengths)}.get(pooling)
        x = self.embed_tokens(ids)
        for text, at, rows in inserted:
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
