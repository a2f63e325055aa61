"""EVA02 (Fang et al. 2023, arXiv 2303.11331), the image tower of jina-clip-v1: B/16 as EVA-CLIP configures it.

A ViT with rotary positions in two dimensions, gated SiLU layers, and norms inside attention and MLP (sub-LN). The class
token's row comes out; the last layer computes queries and MLP for that row alone.
"""

from __future__ import annotations

import mlx.core as mx
from mlx import nn

from edge_embed.architectures.jina_clip import EPSILON, ImageConfig, angles

from ._attention import attend, merge_heads, split_heads
from ._patches import Patches


class RotaryEmbedding2D:
    """Rotary positions in two dimensions: neighbouring channels turn together, by the tower's angles."""

    def __init__(self, tower: ImageConfig) -> None:
        self._cos, self._sin = map(mx.array, angles(tower))

    def __call__(self, x: mx.array) -> mx.array:
        """Rotate (batch, heads, rows, head_dim), whose rows are the first ones."""
        rows = x.shape[2]
        pairs = x.reshape(*x.shape[:-1], -1, 2)
        even, odd = pairs[..., 0], pairs[..., 1]
        cos, sin = self._cos[:rows], self._sin[:rows]
        rotated = mx.stack([even * cos - odd * sin, odd * cos + even * sin], axis=-1)
        return rotated.reshape(x.shape).astype(x.dtype)


class Attention(nn.Module):
    """Attention with a norm before its last projection; queries and values have biases, keys have none."""

    def __init__(self, tower: ImageConfig, rotary: RotaryEmbedding2D) -> None:
        super().__init__()
        dim = tower.dim
        self._heads, self._rotary = tower.heads, rotary
        self.q_proj, self.k_proj, self.v_proj = (nn.Linear(dim, dim, bias=False) for _ in range(3))
        self.q_bias, self.v_bias = mx.zeros((dim,)), mx.zeros((dim,))
        self.inner_attn_ln = nn.LayerNorm(dim, eps=EPSILON)
        self.proj = nn.Linear(dim, dim)

    def __call__(self, x: mx.array, rows: int) -> mx.array:
        """Attend from the first `rows` rows to every row."""
        made = self.q_proj(x[:, :rows]) + self.q_bias, self.k_proj(x), self.v_proj(x) + self.v_bias
        q, k, v = (split_heads(part, self._heads) for part in made)
        return self.proj(self.inner_attn_ln(merge_heads(attend(self._rotary(q), self._rotary(k), v, None))))


class MLP(nn.Module):
    """SwiGLU (Shazeer 2020, arXiv 2002.05202), normed before the last product."""

    def __init__(self, tower: ImageConfig) -> None:
        super().__init__()
        self.w1, self.w2 = nn.Linear(tower.dim, tower.inner), nn.Linear(tower.dim, tower.inner)
        self.ffn_ln = nn.LayerNorm(tower.inner, eps=EPSILON)
        self.w3 = nn.Linear(tower.inner, tower.dim)

    def __call__(self, x: mx.array) -> mx.array:
        """Gate, multiply, normalise, project back."""
        return self.w3(self.ffn_ln(nn.silu(self.w1(x)) * self.w2(x)))


class Block(nn.Module):
    """One layer; norms stand before attention and MLP."""

    def __init__(self, tower: ImageConfig, rotary: RotaryEmbedding2D) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(tower.dim, eps=EPSILON), nn.LayerNorm(tower.dim, eps=EPSILON)
        self.attn, self.mlp = Attention(tower, rotary), MLP(tower)

    def __call__(self, x: mx.array, rows: int) -> mx.array:
        """Compute the first `rows` rows: (batch, rows, dim)."""
        x = x[:, :rows] + self.attn(self.norm1(x), rows)
        return x + self.mlp(self.norm2(x))


class PatchEmbedding(nn.Module):
    """What the checkpoint calls the projection of patches."""

    def __init__(self, tower: ImageConfig) -> None:
        super().__init__()
        self.proj = Patches(tower.dim, tower.patch, bias=True)


class ImageModel(nn.Module):
    """Pixels (batch, 3, height, width) -> the class token's row (batch, dim), not normalised."""

    def __init__(self, tower: ImageConfig) -> None:
        super().__init__()
        side = tower.grid * tower.patch
        self.size = (side, side)
        self.patch_embed = PatchEmbedding(tower)
        self.cls_token = mx.zeros((1, 1, tower.dim))
        self.pos_embed = mx.zeros((1, 1 + tower.grid**2, tower.dim))
        rotary = RotaryEmbedding2D(tower)
        self.blocks = [Block(tower, rotary) for _ in range(tower.layers)]
        self.norm = nn.LayerNorm(tower.dim, eps=EPSILON)

    def __call__(self, pixels: mx.array) -> mx.array:
        """Compute all layers, of the last one what the class token's row needs."""
        patches = self.patch_embed.proj(pixels)
        token = mx.broadcast_to(self.cls_token, (len(pixels), 1, patches.shape[-1]))
        x = mx.concatenate([token, patches], axis=1) + self.pos_embed
        *inner, last = self.blocks
        for block in inner:
            x = block(x, x.shape[1])
        return self.norm(last(x, 1))[:, 0]
