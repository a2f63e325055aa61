"""CLIP's image tower (Radford et al. 2021, arXiv 2103.00020) as transformers' CLIPVisionModel computes it."""

from __future__ import annotations

import mlx.core as mx
from mlx import nn

from edge_embed.architectures._clip import Tower

from ._attention import attend, merge_heads, split_heads
from ._patches import Patches

ACTIVATIONS = {"quick_gelu": nn.gelu_fast_approx, "gelu": nn.gelu}


class Embeddings(nn.Module):
    """Project the patches, put the class token before them, and add the positions."""

    def __init__(self, tower: Tower) -> None:
        super().__init__()
        self.class_embedding = mx.zeros((tower.hidden_size,))
        self.patch_embedding = Patches(tower.hidden_size, tower.patch_size, bias=False)
        self.position_embedding = nn.Embedding(1 + tower.patches, tower.hidden_size)

    def __call__(self, pixels: mx.array) -> mx.array:
        """Return (tiles, 3, height, width) as (tiles, 1 + patches, dim)."""
        patches = self.patch_embedding(pixels)
        token = mx.broadcast_to(self.class_embedding, (len(pixels), 1, patches.shape[-1]))
        positions = self.position_embedding(mx.arange(1 + patches.shape[1]))  # a table that may be quantised
        return mx.concatenate([token, patches], axis=1) + positions


class Attention(nn.Module):
    """Multi-head self-attention."""

    def __init__(self, tower: Tower) -> None:
        super().__init__()
        dim = tower.hidden_size
        self._heads = tower.num_attention_heads
        self.q_proj, self.k_proj, self.v_proj, self.out_proj = (nn.Linear(dim, dim) for _ in range(4))

    def __call__(self, x: mx.array) -> mx.array:
        """Attend from every row to every row."""
        q, k, v = (split_heads(part(x), self._heads) for part in (self.q_proj, self.k_proj, self.v_proj))
        return self.out_proj(merge_heads(attend(q, k, v, None)))


class MLP(nn.Module):
    """Two products and the activation between them."""

    def __init__(self, tower: Tower) -> None:
        super().__init__()
        self._activation = ACTIVATIONS[tower.hidden_act]
        self.fc1 = nn.Linear(tower.hidden_size, tower.intermediate_size)
        self.fc2 = nn.Linear(tower.intermediate_size, tower.hidden_size)

    def __call__(self, x: mx.array) -> mx.array:
        """Project, activate, project back."""
        return self.fc2(self._activation(self.fc1(x)))


class Layer(nn.Module):
    """One layer; norms stand before attention and MLP."""

    def __init__(self, tower: Tower) -> None:
        super().__init__()
        self.layer_norm1 = nn.LayerNorm(tower.hidden_size, eps=tower.layer_norm_eps)
        self.layer_norm2 = nn.LayerNorm(tower.hidden_size, eps=tower.layer_norm_eps)
        self.self_attn, self.mlp = Attention(tower), MLP(tower)

    def __call__(self, x: mx.array) -> mx.array:
        """Compute every row."""
        x = x + self.self_attn(self.layer_norm1(x))
        return x + self.mlp(self.layer_norm2(x))


class Encoder(nn.Module):
    """The first layers of the stack."""

    def __init__(self, tower: Tower, layers: int) -> None:
        super().__init__()
        self.layers = [Layer(tower) for _ in range(layers)]
