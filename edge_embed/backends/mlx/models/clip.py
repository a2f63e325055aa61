"""CLIP (Radford et al. 2021, arXiv 2103.00020) as transformers' CLIPModel computes it."""

from __future__ import annotations

import mlx.core as mx
from mlx import nn

from edge_embed.architectures._clip import ImageConfig, Tower
from edge_embed.architectures.clip import Config
from edge_embed.spec.model import Pooling

from ._attention import key_mask
from ._clip import SENSITIVE_LAYERS, Embeddings, Encoder, TextEmbeddings

__all__ = ["SENSITIVE_LAYERS", "ImageModel", "Model"]


class TextModel(nn.Module):
    """The text tower: the row of each text's closing token."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self._closing = config.closing_token
        self.embeddings = TextEmbeddings(config)
        self.encoder = Encoder(config, config.num_hidden_layers)
        self.final_layer_norm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)

    def __call__(self, ids: mx.array) -> mx.array:
        """Compute (batch, tokens) -> (batch, dim); what pads a text has the id 0, and nothing before it sees it."""
        row = mx.argmax(ids if self._closing is None else ids == self._closing, axis=1).astype(mx.int32)
        x = self.encoder.one_row(self.embeddings(ids), row, "causal", key_mask(row + 1, ids.shape[1]))
        return self.final_layer_norm(x)[:, 0]


class Model(nn.Module):
    """The text tower and its projection; whatever the pooling, one row comes out."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.causal = False  # no prompt's keys and values are kept
        self.max_positions, self.vocab_size = config.max_position_embeddings, config.vocab_size
        self.text_model = TextModel(config)
        self.text_projection = nn.Linear(config.hidden_size, config.dim, bias=False)

    def __call__(self, ids: mx.array, lengths: mx.array, padded: bool, pooling: Pooling) -> mx.array:
        """Return the vectors (batch, dim), not normalised."""
        return self.text_projection(self.text_model(ids))


class VisionModel(nn.Module):
    """The image tower: the class token's row."""

    def __init__(self, tower: Tower) -> None:
        super().__init__()
        self.embeddings = Embeddings(tower)
        self.pre_layrnorm = nn.LayerNorm(tower.hidden_size, eps=tower.layer_norm_eps)  # the field's spelling
        self.encoder = Encoder(tower, tower.num_hidden_layers)
        self.post_layernorm = nn.LayerNorm(tower.hidden_size, eps=tower.layer_norm_eps)

    def __call__(self, pixels: mx.array) -> mx.array:
        """Compute (batch, 3, height, width) -> (batch, dim)."""
        x = self.pre_layrnorm(self.embeddings(pixels))
        return self.post_layernorm(self.encoder.one_row(x, mx.zeros(len(x), mx.int32), None, None))[:, 0]


class ImageModel(nn.Module):
    """The image tower and its projection."""

    def __init__(self, config: ImageConfig) -> None:
        super().__init__()
        self.size = (config.image_size, config.image_size)
        self.vision_model = VisionModel(config.tower)
        self.visual_projection = nn.Linear(config.tower.hidden_size, config.dim, bias=False)

    def __call__(self, pixels: mx.array) -> mx.array:
        """Return the vectors (batch, dim), not normalised."""
        return self.visual_projection(self.vision_model(pixels))
