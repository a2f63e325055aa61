"""Texts and images -> passages and what the index keeps of their vectors, by the index's model."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from edge_embed.embedder import Embedder
from edge_embed.errors import InputError
from edge_embed.pipeline.inputs import Input

from .chunk import Chunker
from .coding import Coded, code
from .extract import Extracted
from .meta import Meta
from .store import Passage

SLICE = 4096  # inputs whose float vectors are held at a time


class Documents:
    """What makes passages and vectors for one index."""

    def __init__(self, model: Embedder, meta: Meta) -> None:
        self._model, self._dims = model, meta.dims
        self._chunker = Chunker(model, meta.chunk_tokens)
        self.takes_images = model.spec.image is not None

    def cut(self, text: Extracted, name: str = "") -> list[Passage]:
        """Cut a text into passages; `name` of the file tells Markdown."""
        spans = self._chunker.spans(text.text, name)
        return [Passage(start, stop, text.place(start), text.text[start:stop]) for start, stop in spans]

    def encode(self, inputs: Sequence[Input]) -> Iterator[Coded | InputError]:
        """Embed documents; one that cannot be embedded gives its error."""
        for start in range(0, len(inputs), SLICE):
            found = list(
                self._model.encode_iter(
                    inputs[start : start + SLICE], side="document", truncate_dim=self._dims, errors="return"
                )
            )
            vectors = [one for one in found if not isinstance(one, InputError)]
            good = iter(code(np.array(vectors, np.float32).reshape(len(vectors), self._dims)))
            yield from (one if isinstance(one, InputError) else next(good) for one in found)
