"""Texts and images -> passages and what the index keeps of their vectors, by the index's model."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from edge_embed.embedder import Embedder
from edge_embed.errors import InputError
from edge_embed.pipeline.inputs import Input

from .chunk import Chunker
from .coding import Coded, code
from .extract import Extracted
from .late import LateChunking
from .meta import Meta
from .store import Passage

SLICE = 4096  # passages whose float vectors are held at a time
Vector = NDArray[np.float32]


class Document(NamedTuple):
    """A source's passages, and what they are of: a text, or an image, which is its one passage."""

    passages: Sequence[Passage]
    text: str = ""
    image: bytes | None = None

    @property
    def inputs(self) -> list[Input]:
        """What the model is given for each passage where it reads them one by one."""
        if self.image is not None:
            return [{"image": self.image}]
        return [passage.text for passage in self.passages]


class Documents:
    """What makes passages and vectors for one index."""

    def __init__(self, model: Embedder, meta: Meta) -> None:
        self._model, self._dims = model, meta.dims
        self._chunker = Chunker(model, meta.chunk_tokens)
        self._late = LateChunking(model, self._chunker.tokens, meta.dims) if meta.late_chunking else None
        self.takes_images = model.spec.image is not None

    def cut(self, text: Extracted, name: str = "") -> Document:
        """Cut a text into passages; `name` of the file tells Markdown."""
        spans = self._chunker.spans(text.text, name)
        passages = [Passage(start, stop, text.place(start), text.text[start:stop]) for start, stop in spans]
        return Document(passages, text.text)

    def encode(self, documents: Sequence[Document]) -> Iterator[list[Coded] | InputError]:
        """Embed each document's passages; one of which a passage cannot be embedded gives the error."""
        coded = self._coded(self._vectors(documents))
        for document in documents:
            made = [next(coded) for _ in document.passages]
            faults = [one for one in made if isinstance(one, InputError)]
            yield faults[0] if faults else [one for one in made if not isinstance(one, InputError)]

    def _coded(self, vectors: Iterator[Vector | InputError]) -> Iterator[Coded | InputError]:
        while found := [*itertools.islice(vectors, SLICE)]:
            good = [one for one in found if not isinstance(one, InputError)]
            codes = iter(code(np.array(good, np.float32).reshape(len(good), self._dims)))
            yield from (one if isinstance(one, InputError) else next(codes) for one in found)

    def _vectors(self, documents: Sequence[Document]) -> Iterator[Vector | InputError]:
        """Yield a vector for each passage; a document of one has no others that it could be read with."""
        if self._late is None:
            yield from self._one_by_one(documents)
            return
        single = self._one_by_one(document for document in documents if len(document.passages) == 1)
        several = self._late.encode(
            (document.text, [passage[:2] for passage in document.passages])
            for document in documents
            if len(document.passages) > 1
        )
        for document in documents:
            yield from itertools.islice(single if len(document.passages) == 1 else several, len(document.passages))

    def _one_by_one(self, documents: Iterable[Document]) -> Iterator[Vector | InputError]:
        inputs = (one for document in documents for one in document.inputs)
        return self._model.encode_iter(inputs, side="document", truncate_dim=self._dims, errors="return")
