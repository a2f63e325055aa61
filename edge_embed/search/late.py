"""Late chunking: a document is read whole, or in windows that overlap, and each passage pooled over its own tokens.

Günther et al. 2024, "Late Chunking: Contextual Chunk Embeddings Using Long-Context Embedding Models".
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from edge_embed.batching.late import late_tokenizer
from edge_embed.embedder import Embedder
from edge_embed.errors import BackendError, InputError
from edge_embed.pipeline.rows import TextRow
from edge_embed.pipeline.steps import text_steps
from edge_embed.pipeline.token_offsets import token_offsets

Span = tuple[int, int]
BESIDE = 4  # a quarter of a window, and no more, is read again in the next for what it tells of the passages there
SPARE = 8  # tokens of a window that its two ends may cost, where words are cut otherwise than within the document
GROUP = 4096  # passages whose vectors are held at a time


class Window(NamedTuple):
    """Passages by number: `first` to `last` are read together, of which `begin` to `end` get their vectors here."""

    first: int
    begin: int
    end: int
    last: int


class LateChunking:
    """What reads whole documents with one model; raises InputError for a model that late chunking is not for."""

    def __init__(self, model: Embedder, chunk_tokens: int, dims: int) -> None:
        self._pipeline = model._opened.pipeline
        self._tokenizer = late_tokenizer(self._pipeline)
        self._options = model._options("document", None, None, dims, "float32", None, "end", None)
        around = model.count_tokens("", side="document").tokens
        self._room = model.spec.max_tokens - around - SPARE
        if 2 * chunk_tokens > self._room:
            raise InputError(
                f"late chunking needs room for two passages at least: {model.spec.name} reads {self._room} tokens at a "
                f"time, and passages have {chunk_tokens}; ask for chunk_tokens of {max(1, self._room // 2)} or less"
            )

    def encode(self, documents: Iterable[tuple[str, Sequence[Span]]]) -> Iterator[NDArray[np.float32]]:
        """Yield a vector (dims,) for each passage, (start, stop) in its document's letters; raises BackendError."""
        group: list[TextRow] = []
        passages = 0
        for text, spans in documents:
            for row in self._rows(text, spans):
                group.append(row)
                passages += len(row.spans)
                if passages >= GROUP:
                    yield from self._compute(group)
                    group, passages = [], 0
        yield from self._compute(group)

    def _rows(self, text: str, spans: Sequence[Span]) -> Iterator[TextRow]:
        """Yield a row for each window of a document."""
        begins = token_offsets(self._tokenizer, text)[:, 0]
        tokens = np.searchsorted(begins, np.array(spans, np.int64)).tolist()
        for window in windows(tokens, self._room):
            start, stop = spans[window.first][0], spans[window.last - 1][1]
            places = [(one - start, other - start) for one, other in spans[window.begin : window.end]]
            ids, inside = self._tokenizer.spans(text[start:stop], self._options.templates.text, places)
            # What has no token of its own, such as control characters alone, has the window's mean.
            yield TextRow(ids, 0, spans=[(a, b) if a < b else (0, len(ids)) for a, b in inside])

    def _compute(self, rows: Sequence[TextRow]) -> NDArray[np.float32]:
        """Return the vectors of all rows' passages (passages, dims), in order."""
        pipeline, options = self._pipeline, self._options
        found: dict[int, NDArray[np.float32]] = {}
        for step in text_steps(dict(enumerate(rows)), pipeline.backend, pipeline.head, options.batch_tokens):
            found |= zip(step.positions.tolist(), step.rows, strict=True)
        pooled = [np.empty((0, pipeline.spec.dim), np.float32), *(found[n] for n in range(len(rows)))]
        vectors = np.concatenate(pooled)
        if not np.isfinite(vectors).all():
            raise BackendError("the engine gave a vector that is not finite; try another level or backend")
        finished: NDArray[np.float32] = pipeline.finish(vectors, options)
        return finished


def windows(passages: Sequence[Span], room: int) -> Iterator[Window]:
    """Group passages, (start, stop) in tokens, ascending, so that none is longer than half of `room` is cut.

    A window begins with passages of the one before, and one that ends within the document leaves its last ones to the
    next, as far as they fit in a quarter of it: so each has its neighbours on both sides.
    """
    begin, beside = 0, room // BESIDE
    while begin < len(passages):
        first = begin
        while first > 0 and passages[begin][0] - passages[first - 1][0] <= beside:
            first -= 1
        last = begin + 1
        while last < len(passages) and passages[last][1] - passages[first][0] <= room:
            last += 1
        end = last
        while last < len(passages) and end - 1 > begin and passages[last - 1][1] - passages[end - 1][0] <= beside:
            end -= 1
        yield Window(first, begin, end, last)
        begin = end
