"""Attention with ALiBi (Press et al. 2022, arXiv 2108.12409) to both sides: a score falls with the tokens' distance.

The bias has an element for every pair of tokens in every head, so queries attend in blocks, each with its own rows of
bias: memory grows with the text's length instead of its square.
"""

from __future__ import annotations

import mlx.core as mx

BLOCK = 256  # queries at a time; attention over 8,192 tokens in 12 heads takes 0.26 GB


def head_slopes(heads: int) -> mx.array:
    """Return ALiBi's slope of each head: 2^(-8/n), 2^(-16/n), ..., then the odd ones of twice as many heads."""
    whole = 1 << (heads.bit_length() - 1)
    first = [2 ** (-8 * (n + 1) / whole) for n in range(whole)]
    return mx.array(first + [2 ** (-4 * (2 * n + 1) / whole) for n in range(heads - whole)])


def attend(q: mx.array, k: mx.array, v: mx.array, slopes: mx.array, mask: mx.array | None) -> mx.array:
    """Attend with scores lowered by `slopes` (heads,) for each token of distance; `mask` says which keys are real.

    q, k and v (batch, heads, tokens, head_dim) -> the same shape; mask bool (batch, 1, 1, tokens) or None.
    """
    tokens = q.shape[2]
    positions = mx.arange(tokens)
    out: list[mx.array] = []
    for start in range(0, tokens, BLOCK):
        mx.eval(out)  # block by block: MLX computes breadth first, and would hold every block's bias at once
        rows, part = positions[start : start + BLOCK], q[:, :, start : start + BLOCK]
        bias = -slopes[:, None, None] * mx.abs(rows[:, None] - positions).astype(mx.float32)
        lowered = bias[None] if mask is None else mx.where(mask, bias, -mx.inf)
        scale = q.shape[-1] ** -0.5
        out.append(mx.fast.scaled_dot_product_attention(part, k, v, scale=scale, mask=lowered.astype(q.dtype)))
    return mx.concatenate(out, axis=2) if len(out) > 1 else out[0]
