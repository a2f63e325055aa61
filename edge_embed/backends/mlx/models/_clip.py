"""CLIP's towers (Radford et al. 2021, arXiv 2103.00020) as transformers computes them, and the layers SigLIP shares."""

from __future__ import annotations

import mlx.core as mx
from mlx import nn

from edge_embed.architectures._clip import Layers, TextTower, Tower

from ._attention import attend, merge_heads, split_heads, take_row
from ._patches import Patches

SENSITIVE_LAYERS = ("v_proj", "out_proj")
ACTIVATIONS = {"quick_gelu": nn.gelu_fast_approx, "gelu": nn.gelu, "gelu_pytorch_tanh": nn.gelu_approx}


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


class TextEmbeddings(nn.Module):
    """Look up words, and add the rows of their places."""

    def __init__(self, tower: TextTower) -> None:
        super().__init__()
        self.token_embedding = nn.Embedding(tower.vocab_size, tower.hidden_size)
        self.position_embedding = nn.Embedding(tower.max_position_embeddings, tower.hidden_size)

    def __call__(self, ids: mx.array) -> mx.array:
        """Look up (batch, tokens) -> (batch, tokens, dim)."""
        return self.token_embedding(ids) + self.position_embedding(mx.arange(ids.shape[1]))


class Attention(nn.Module):
    """Multi-head self-attention."""

    def __init__(self, shape: Layers) -> None:
        super().__init__()
        dim = shape.hidden_size
        self._heads = shape.num_attention_heads
        self.q_proj, self.k_proj, self.v_proj, self.out_proj = (nn.Linear(dim, dim) for _ in range(4))

    def __call__(self, x: mx.array, mask: mx.array | str | None, row: mx.array | None) -> mx.array:
        """Attend from every row, or from one row of each, to those that the mask leaves."""
        made = self.q_proj(x if row is None else take_row(x, row)), self.k_proj(x), self.v_proj(x)
        q, k, v = (split_heads(part, self._heads) for part in made)
        return self.out_proj(merge_heads(attend(q, k, v, mask)))


class MLP(nn.Module):
    """Two products and the activation between them."""

    def __init__(self, shape: Layers) -> None:
        super().__init__()
        self._activation = ACTIVATIONS[shape.hidden_act]
        self.fc1 = nn.Linear(shape.hidden_size, shape.intermediate_size)
        self.fc2 = nn.Linear(shape.intermediate_size, shape.hidden_size)

    def __call__(self, x: mx.array) -> mx.array:
        """Project, activate, project back."""
        return self.fc2(self._activation(self.fc1(x)))


class Layer(nn.Module):
    """One layer; norms stand before attention and MLP."""

    def __init__(self, shape: Layers) -> None:
        super().__init__()
        self.layer_norm1 = nn.LayerNorm(shape.hidden_size, eps=shape.layer_norm_eps)
        self.layer_norm2 = nn.LayerNorm(shape.hidden_size, eps=shape.layer_norm_eps)
        self.self_attn, self.mlp = Attention(shape), MLP(shape)

    def __call__(self, x: mx.array, mask: mx.array | str | None = None, row: mx.array | None = None) -> mx.array:
        """Compute every row, or with `row` (batch,) only that one of each: (batch, 1, dim)."""
        attended = self.self_attn(self.layer_norm1(x), mask, row)
        x = (x if row is None else take_row(x, row)) + attended
        return x + self.mlp(self.layer_norm2(x))


class Encoder(nn.Module):
    """The first layers of the stack."""

    def __init__(self, shape: Layers, layers: int) -> None:
        super().__init__()
        self.layers = [Layer(shape) for _ in range(layers)]

    def one_row(self, x: mx.array, row: mx.array, mask: mx.array | str | None, last: mx.array | None) -> mx.array:
        """Compute one row (batch,) of each: (batch, 1, dim); `mask` is that of all layers but the last one."""
        *inner, end = self.layers
        for layer in inner:
            x = layer(x, mask)
        return end(x, last, row)
