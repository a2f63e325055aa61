"""Attention within a window: a token sees so many others `before` and `after` it, and itself."""

from __future__ import annotations

import mlx.core as mx

from ._attention import attend as attend_all
from ._attention import key_mask

BLOCK = 256  # queries at a time; each block reads its own keys and those within reach of them


def attend(q: mx.array, k: mx.array, v: mx.array, lengths: mx.array | None, before: int, after: int) -> mx.array:
    """Attend (batch, heads, tokens, head_dim); `lengths` (batch,) of texts that are padded on the right, else None.

    Time and memory grow with the text's length.
    """
    tokens = q.shape[2]
    if tokens <= min(before, after) + 1:
        return attend_all(q, k, v, None if lengths is None else key_mask(lengths, tokens))
    places = mx.arange(tokens)
    out: list[mx.array] = []
    for start in range(0, tokens, BLOCK):
        mx.eval(out)  # block by block: MLX computes breadth first, and would hold every block's mask at once
        stop = min(start + BLOCK, tokens)
        seen = slice(max(0, start - before), min(stop + after, tokens))
        keys = places[seen]
        behind = keys - places[start:stop, None]
        mask = ((behind >= -before) & (behind <= after))[None, None]
        if lengths is not None:
            # A row of padding may have no real key in reach; that it sees itself keeps it a number.
            mask = mask & ((keys < lengths[:, None])[:, None, None] | (keys == places[start:stop, None]))
        part, scale = q[:, :, start:stop], q.shape[-1] ** -0.5
        out.append(mx.fast.scaled_dot_product_attention(part, k[:, :, seen], v[:, :, seen], scale=scale, mask=mask))
    return mx.concatenate(out, axis=2) if len(out) > 1 else out[0]
