"""Attention over texts that are padded on the right, and the choice of one row a text."""

from __future__ import annotations

import mlx.core as mx

# Queries at a time on a CPU, where scores are held whole: 8,192 tokens in nano's 12 heads take 0.25 GB instead of 3.3.
BLOCK = 512


def key_mask(lengths: mx.array, width: int) -> mx.array:
    """Say which keys are real: bool (batch, 1, 1, width)."""
    return (mx.arange(width) < lengths[:, None])[:, None, None]


def take_row(x: mx.array, row: mx.array) -> mx.array:
    """Pick one row of each text: (batch, tokens, dim) and (batch,) -> (batch, 1, dim)."""
    return mx.take_along_axis(x, row[:, None, None], axis=1)


def split_heads(x: mx.array, heads: int) -> mx.array:
    """Arrange (batch, tokens, heads * head_dim) as (batch, heads, tokens, head_dim)."""
    batch, tokens, _ = x.shape
    return x.reshape(batch, tokens, heads, -1).swapaxes(1, 2)


def merge_heads(x: mx.array) -> mx.array:
    """Undo split_heads."""
    batch, _, tokens, _ = x.shape
    return x.swapaxes(1, 2).reshape(batch, tokens, -1)


def rotate(x: mx.array, theta: float, divisor: float = 1.0, offset: int | mx.array = 0) -> mx.array:
    """Rotate (batch, heads, tokens, head_dim) by positions (Su et al. 2021, arXiv 2104.09864), the first is `offset`.

    `divisor` stretches the positions, as linear scaling does.
    """
    return mx.fast.rope(x, x.shape[-1], traditional=False, base=theta, scale=1 / divisor, offset=offset)


def attend(q: mx.array, k: mx.array, v: mx.array, mask: mx.array | str | None) -> mx.array:
    """Attend (Vaswani et al. 2017, arXiv 1706.03762); `mask` is a key mask, "causal" or None.

    q (batch, heads, queries, head_dim), k and v (batch, key heads, keys, head_dim) -> the shape of q. Metal's kernel
    never holds the scores; on a CPU they are made for BLOCK queries at a time.
    """
    scale, queries = q.shape[-1] ** -0.5, q.shape[2]
    if queries <= BLOCK or mx.default_device() != mx.cpu:
        return mx.fast.scaled_dot_product_attention(q, k, v, scale=scale, mask=mask)
    out: list[mx.array] = []
    for start in range(0, queries, BLOCK):
        mx.eval(out)  # MLX computes breadth first, and would hold the scores of every block at once
        stop = min(start + BLOCK, queries)
        # MLX aligns causal masks at the last key; there may be more keys than queries.
        keys = slice(k.shape[2] - queries + stop) if isinstance(mask, str) else slice(None)
        part = q[:, :, start:stop]
        out.append(mx.fast.scaled_dot_product_attention(part, k[:, :, keys], v[:, :, keys], scale=scale, mask=mask))
    return mx.concatenate(out, axis=2)
