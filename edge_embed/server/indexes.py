"""The indexes that are searched: each bound to a model when the service starts, each with a thread of its own."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_embed.batching.computed import Computed
from edge_embed.errors import EdgeEmbedError, InputError, SearchIndexError, listing
from edge_embed.search.hits import SearchHit
from edge_embed.search.meta import Meta
from edge_embed.search.probes import SAME, TEXTS, agreement
from edge_embed.search.reader import Question, Reader
from edge_embed.spec.model import with_task

from .ask import Ask, Failure, Probe
from .failures import overloaded, unavailable
from .models import Model
from .names import split_argument
from .settings import Settings

logger = logging.getLogger("edge_embed.server")
DEFAULT = "default"
MOST_WAITING = 64  # searches of one index that wait for its thread, each with its vectors
SOON = 1.0  # seconds after which what failed is asked again


class OneThread(ThreadPoolExecutor):
    """A thread for what waits for the disk; raises Failure where too much waits for it."""

    def __init__(self, name: str) -> None:
        super().__init__(1, name)

    def submit(self, function: Callable[..., Any], /, *args: Any, **options: Any) -> Future[Any]:
        """Call a function in the thread."""
        if self._work_queue.qsize() >= MOST_WAITING:
            raise overloaded("as many searches wait for this index as may: come again later", SOON)
        return super().submit(function, *args, **options)


class ServedIndex:
    """An index by its name; `model` is what the service calls the model that its vectors are of."""

    def __init__(self, name: str, reader: Reader, model: str) -> None:
        self.name, self.model, self._reader = name, model, reader
        self._agreed: str | None = None  # the index without a fingerprint that the model was found to be of
        self.thread = OneThread(f"index {name}")

    @property
    def dims(self) -> int:
        """The length of its vectors, as when it was last opened."""
        return self._reader.meta.dims

    def probe(self) -> Probe | None:
        """Return what shows that the model is that of an index without a fingerprint; None where that is known."""
        meta = self._reader.meta
        if meta.fingerprint or meta.uuid == self._agreed:
            return None
        ask = Ask(model=self.model, inputs=TEXTS, side="document", dim=meta.dims)
        return Probe(ask=ask, check=partial(self._check, meta))

    def _check(self, meta: Meta, computed: Computed) -> None:
        """Raise Failure for vectors of another model's than an index's."""
        try:
            if not agreement(meta, computed.vectors, str(self._reader.path)) >= SAME:
                raise self._of_another(meta)
        except SearchIndexError as error:
            raise self._failed(error) from error
        self._agreed = meta.uuid

    def _of_another(self, meta: Meta) -> SearchIndexError:
        return SearchIndexError(f"{self._reader.path} was made with {meta.name}, and {self.model} is another")

    def search(
        self, vectors: NDArray[np.float32], questions: Sequence[Question], fingerprint: str | None
    ) -> list[tuple[list[SearchHit], Meta]]:
        """Find what fits vectors (n, dims) of a model with that fingerprint; raises Failure."""
        try:
            found = []
            for vector, question in zip(vectors, questions, strict=True):
                hits, meta = self._reader.search(vector, question)
                same = meta.fingerprint == fingerprint if meta.fingerprint else meta.uuid == self._agreed
                if not same:
                    raise self._of_another(meta)
                found.append((hits, meta))
            return found
        except EdgeEmbedError as error:
            raise self._failed(error) from error

    def describe(self) -> dict[str, Any]:
        """Tell of it as it is now; one that cannot be opened says so."""
        try:
            facts: dict[str, Any] = {"passages": self._reader.passages()}
        except EdgeEmbedError as error:
            facts = {"error": self._failed(error).message}
        return {"name": self.name, "model": self.model, "dims": self.dims, **facts}

    def close(self) -> None:
        """End its thread, and close its file."""
        self.thread.shutdown(wait=True, cancel_futures=True)
        self._reader.close()

    def _failed(self, error: EdgeEmbedError) -> Failure:
        logger.error("the index %s cannot be searched: %s", self.name, error)  # no caller's text is in that
        return unavailable(f"the index {self.name} cannot be searched now; the server's log says why", SOON)


class Indexes:
    """All indexes of the service, by name."""

    def __init__(self, indexes: Sequence[ServedIndex] = ()) -> None:
        self._indexes = {index.name: index for index in indexes}

    def find(self, name: str | None) -> ServedIndex:
        """Return the index of a name, the first for none; raise Failure for one that is not there."""
        if not self._indexes:
            message = "this service searches no index: it is started with --index FILE for that"
            raise Failure(status=404, reason="no_index", message=message)
        if not name:
            return next(iter(self._indexes.values()))
        if name not in self._indexes:
            message = f"no index {name!r:.80} here: there is {listing(self._indexes)}"
            raise Failure(status=404, reason="no_index", message=message, field="index")
        return self._indexes[name]

    def describe(self) -> list[dict[str, Any]]:
        """Tell of each; opens files."""
        return [index.describe() for index in self._indexes.values()]

    def close(self) -> None:
        """Close all."""
        for index in self._indexes.values():
            index.close()


def find_indexes(settings: Settings, models: Sequence[Model]) -> Indexes:
    """Open the indexes that are to be searched; raises InputError, or SearchIndexError where their model is missing."""
    found: dict[str, ServedIndex] = {}
    for argument in settings.index:
        path, name = split_argument(argument, "FILE")
        name = name or DEFAULT
        if name in found:
            raise InputError(f"two indexes are called {name}: give one another name, {path}=NAME")
        reader = Reader(Path(path))
        found[name] = ServedIndex(name, reader, _model_for(reader, models))
    return Indexes(list(found.values()))


def _model_for(reader: Reader, models: Sequence[Model]) -> str:
    """Name the model of an index's vectors; what is known once it is loaded is looked at when it is searched.

    An index without a fingerprint is taken to be of the model with its name, or else of one without a fingerprint.
    """
    meta = reader.meta
    named = [(model, name) for model in models if (name := _name_for(meta, model)) is not None]
    if meta.fingerprint:
        same = [name for model, name in named if model.described.spec.fingerprint == meta.fingerprint]
    else:
        same = [name for model, name in named if meta.name in (model.name, model.described.spec.name)]
    later = [name for model, name in named if model.described.spec.fingerprint is None]
    if not same and not later:
        raise SearchIndexError(
            f"{reader.path} was made with {meta.name}, and none of the models that are served here is that one: serve "
            f"{meta.model or meta.name} too, or leave the index out"
        )
    return [*same, *later][0]


def _name_for(meta: Meta, model: Model) -> str | None:
    """Return what the service calls the model with the index's task; None where it has no such task."""
    spec = model.described.spec
    if not spec.tasks or not meta.task:
        return model.name if not spec.tasks or spec.task else None
    try:
        return f"{model.name}:{with_task(spec, meta.task).task}"
    except InputError:
        return None
