"""SigLIP (Zhai et al. 2023, arXiv 2303.15343) and SigLIP 2, as transformers' SiglipModel computes them.

Texts come filled up to one length, and no token of them is padding.
"""

from __future__ import annotations

import mlx.core as mx
from mlx import nn

from edge_embed.architectures._clip import ImageConfig, Tower
from edge_embed.architectures.siglip import Config
from edge_embed.spec.model import Pooling

from ._attention import attend, merge_heads, split_heads
from ._clip import MLP, SENSITIVE_LAYERS, Encoder, TextEmbeddings
from ._patches import Patches

__all__ = ["SENSITIVE_LAYERS", "ImageModel", "Model"]


class TextModel(nn.Module):
    """The text tower with its head: the row of the last place."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.embeddings = TextEmbeddings(config)
        self.encoder = Encoder(config, config.num_hidden_layers)
        self.final_layer_norm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.head = nn.Linear(config.hidden_size, config.dim)

    def __call__(self, ids: mx.array, lengths: mx.array) -> mx.array:
        """Compute (batch, tokens) -> (batch, dim)."""
        x = self.encoder.one_row(self.embeddings(ids), lengths - 1, None, None)
        return self.head(self.final_layer_norm(x)[:, 0])


class Model(nn.Module):
    """The text tower; whatever the pooling, one row comes out."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.causal = False
        self.max_positions, self.vocab_size = config.max_position_embeddings, config.vocab_size
        self.text_model = TextModel(config)

    def __call__(self, ids: mx.array, lengths: mx.array, padded: bool, pooling: Pooling) -> mx.array:
        """Return the vectors (batch, dim), not normalised."""
        return self.text_model(ids, lengths)


class Embeddings(nn.Module):
    """Project the patches, and add the positions."""

    def __init__(self, tower: Tower) -> None:
        super().__init__()
        self.patch_embedding = Patches(tower.hidden_size, tower.patch_size, bias=True)
        self.position_embedding = nn.Embedding(tower.patches, tower.hidden_size)

    def __call__(self, pixels: mx.array) -> mx.array:
        """Return (batch, 3, height, width) as (batch, patches, dim)."""
        patches = self.patch_embedding(pixels)
        return patches + self.position_embedding(mx.arange(patches.shape[1]))  # a table that may be quantised


class PoolingAttention(nn.Module):
    """PyTorch's MultiheadAttention, whose three products are one tensor."""

    def __init__(self, tower: Tower) -> None:
        super().__init__()
        dim = tower.hidden_size
        self._heads = tower.num_attention_heads
        self.in_proj_weight, self.in_proj_bias = mx.zeros((3 * dim, dim)), mx.zeros((3 * dim,))
        self.out_proj = nn.Linear(dim, dim)

    def __call__(self, query: mx.array, x: mx.array) -> mx.array:
        """Attend from query rows (batch, 1, dim) to all rows."""
        weights, biases = mx.split(self.in_proj_weight, 3), mx.split(self.in_proj_bias, 3)
        rows = (query, x, x)
        made = (row @ weight.T + bias for row, weight, bias in zip(rows, weights, biases, strict=True))
        q, k, v = (split_heads(part, self._heads) for part in made)
        return self.out_proj(merge_heads(attend(q, k, v, None)))


class Head(nn.Module):
    """One learned row asks all rows of an image (the MAP head of Zhai et al. 2022, arXiv 2106.04560)."""

    def __init__(self, tower: Tower) -> None:
        super().__init__()
        self.probe = mx.zeros((1, 1, tower.hidden_size))
        self.attention = PoolingAttention(tower)
        self.layernorm = nn.LayerNorm(tower.hidden_size, eps=tower.layer_norm_eps)
        self.mlp = MLP(tower)

    def __call__(self, x: mx.array) -> mx.array:
        """Compute (batch, patches, dim) -> (batch, dim)."""
        x = self.attention(mx.broadcast_to(self.probe, (len(x), 1, x.shape[-1])), x)
        return (x + self.mlp(self.layernorm(x)))[:, 0]


class VisionModel(nn.Module):
    """The image tower with its head."""

    def __init__(self, tower: Tower) -> None:
        super().__init__()
        self.embeddings = Embeddings(tower)
        self.encoder = Encoder(tower, tower.num_hidden_layers)
        self.post_layernorm = nn.LayerNorm(tower.hidden_size, eps=tower.layer_norm_eps)
        self.head = Head(tower)

    def __call__(self, pixels: mx.array) -> mx.array:
        """Compute (batch, 3, height, width) -> (batch, dim)."""
        x = self.embeddings(pixels)
        for layer in self.encoder.layers:
            x = layer(x)
        return self.head(self.post_layernorm(x))


class ImageModel(nn.Module):
    """The image tower alone: SigLIP projects nothing."""

    def __init__(self, config: ImageConfig) -> None:
        super().__init__()
        self.size = (config.image_size, config.image_size)
        self.vision_model = VisionModel(config.tower)

    def __call__(self, pixels: mx.array) -> mx.array:
        """Return the vectors (batch, dim), not normalised."""
        return self.vision_model(pixels)
