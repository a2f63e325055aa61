"""An index that is open: what it finds for a query, and whose the model is that embeds it."""

from __future__ import annotations

import datetime
import os
import threading
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Self

import numpy as np
from numpy.typing import NDArray

from edge_embed.embedder import Embedder
from edge_embed.errors import InputError

from . import space
from .asked import Asked, file_vector, query_vector
from .database import Database
from .filters import Where, make_filters
from .hits import SearchHit
from .meta import Meta
from .query import Query, check_top
from .walk import absolute


class Searcher:
    """An index that is open, and may be asked; the model is opened when a query is to be embedded by it."""

    def __init__(
        self, database: Database, model: Embedder | None, own: bool, make: Callable[..., Embedder] = Embedder
    ) -> None:
        self._database, self._model, self.owns_model, self._make = database, model, own, make
        self._lock = threading.Lock()

    @property
    def meta(self) -> Meta:
        """What the index says of itself: `name`, `fingerprint` and `dims` of its vectors, `reference`, a cosine.

        >>> with Index.open(":memory:", model) as index:
        ...     index.meta.dims
        384
        """
        return self._database.meta

    @property
    def model(self) -> Embedder:
        """The model; where none was given, the one that made the index is opened when it is first needed.

        >>> with Index.open(":memory:", model) as index:
        ...     index.model is model
        True
        """
        with self._lock:
            if self._model is None:
                self._model, self.owns_model = space.reopen(self.meta, self._database.path, self._make), True
            return self._model

    def search(
        self,
        query: Asked,
        *,
        text: str | None = None,
        top: int = 10,
        paths: Sequence[str] = (),
        since: str | float | datetime.date | None = None,
        until: str | float | datetime.date | None = None,
        where: Where | None = None,
        hybrid: bool = True,
        least: float | None = None,
        without: Sequence[str | os.PathLike[str]] = (),
        server: str | None = None,
    ) -> list[SearchHit]:
        """Find the passages that fit a query best: a text, {"image": ...}, or a vector (dims,).

        Limits hold before anything is compared: `paths` (globs; `*` takes in folders), `since` and `until` of a
        source's time, `where` of items' metadata, `without` files. With `hybrid` a text's words count too, and what
        holds it letter for letter comes first; `text` are the words of a query that is none itself. Passages no nearer
        than unrelated texts are left out, so that an empty list says that nothing fits; `least` is another such cosine,
        -1 for none. A text is embedded by `server`, `http://HOST:PORT` or `unix:PATH` of a running `edge-embed serve`
        with the same model, where one is named.
        Raises InputError; of a server BackendError and SearchIndexError.

        >>> with Index.open(":memory:", model) as index:
        ...     _ = index.add([{"id": "x", "text": "Tea is served.", "metadata": {"user": "ann"}}])
        ...     [hit.text for hit in index.search("tea", where={"user": "ann"})]
        ['Tea is served.']
        """
        check_top(top)
        if isinstance(query, str):
            if text is not None:
                raise InputError(
                    f"text={text!r} goes with a vector or an image: a query that is a text has its own words"
                )
            text = query
        left_out = {number for path in without for number in self._database.files_under(absolute(path))}
        asked = Query(
            vector=query_vector(query, self.meta, lambda: self.model, server),
            text=text if hybrid else None,
            top=top,
            filters=make_filters(paths, since, until, where, left_out),
            least=self.meta.reference if least is None else least,
        )
        return self._database.answer(asked)

    def vector_of_file(self, path: str | os.PathLike[str]) -> NDArray[np.float32]:
        """Return the mean of a file's vectors (dims,); raise InputError where it has none in the index."""
        found = file_vector(self._database, absolute(path))
        if found is None:
            raise InputError(f"{os.fspath(path)} has no passages in {self._database.path}: index it first")
        return found

    def close(self) -> None:
        """Close the file, and the model unless the caller opened it.

        >>> Index.open(":memory:", model).close()
        """
        self._database.close()
        if self.owns_model and self._model is not None:
            self._model.close()
            self._model = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
