"""What an engine is given of one input, and what comes back: ids -> hidden states -> one vector, or one a span."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from edge_embed.backends import Batch, ImageRows, Rows, TextBackend
from edge_embed.errors import MemoryWarning, OutOfMemoryError, warn

from .head import Head
from .tokenizer import Ids

Span = tuple[int, int]


@dataclass(frozen=True)
class TextRow:
    """One text, ready for the engine: its ids, an image's rows among them if any, and its index for messages.

    The first `prefix` ids are the prompt's; the first `skip` rows are not pooled. With `spans` the text becomes a
    vector for each of them, not one.
    """

    ids: Ids
    index: int
    prefix: int = 0
    skip: int = field(default=0, kw_only=True)
    image_rows: ImageRows | None = None
    spans: Sequence[Span] = ()

    kind: ClassVar = "text"

    @property
    def length(self) -> int:
        """How many tokens it has."""
        return len(self.ids)

    @property
    def shared(self) -> bytes:
        """The prompt's ids: texts in which they are equal may share what was computed of them."""
        return self.ids[: self.prefix].tobytes()


def compute_rows(backend: TextBackend, head: Head, rows: Sequence[TextRow]) -> list[NDArray[np.float32]]:
    """Run the backend on one batch, and the head: (dim,) for each row, or (spans, dim).

    Raises InputError, BackendError.
    """
    common = rows[0].prefix if len({row.shared for row in rows}) == 1 else 0
    images = [row.image_rows for row in rows] if any(row.image_rows for row in rows) else ()
    batch = Batch([row.ids for row in rows], images, common, [row.index for row in rows])
    pooled = [_pool(hidden, head, row) for hidden, row in zip(_forward(backend, batch), rows, strict=True)]
    if not head.layers:
        return pooled
    finished = head.finish(np.concatenate([np.atleast_2d(one) for one in pooled]))
    ends = np.cumsum([len(row.spans) or 1 for row in rows])
    parts = np.split(finished, ends[:-1])
    return [part if row.spans else part[0] for part, row in zip(parts, rows, strict=True)]


def _pool(hidden: Rows, head: Head, row: TextRow) -> NDArray[np.float32]:
    if row.spans:
        return np.stack([head.pool(hidden[start:stop]) for start, stop in row.spans])
    return head.pool(hidden, row.skip)


def _forward(backend: TextBackend, batch: Batch) -> list[Rows]:
    """Run a batch; one for which there is no memory is halved, once."""
    try:
        return backend.forward(batch)
    except OutOfMemoryError as error:
        if len(batch.ids) == 1:
            raise
        warn(f"{error}: the batch of {len(batch.ids)} texts is halved", MemoryWarning)
        middle = len(batch.ids) // 2
        halves = (slice(middle), slice(middle, None))
        parts = [
            replace(batch, ids=batch.ids[half], image_rows=batch.image_rows[half], indices=batch.indices[half])
            for half in halves
        ]
        return [rows for part in parts for rows in backend.forward(part)]
