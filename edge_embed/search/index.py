"""Index: passages of files and items of the caller's own, searched by meaning and by words."""

from __future__ import annotations

import datetime
import os
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cached_property, partial
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from edge_embed.device.background import BATTERY_BELOW
from edge_embed.embedder import Embedder
from edge_embed.errors import InputError
from edge_embed.loading.request import ModelWorkload
from edge_embed.progress import progress

from . import space
from .chunk import TOKENS
from .coding import decode
from .command import parse as parse_command
from .database import Database
from .documents import Documents
from .export import export
from .extract import Extracted
from .filters import Where, make_filters
from .hits import SearchHit
from .items import item_key, parse_item
from .meta import Meta
from .query import Query, check_top
from .remote import encode_query
from .schema import MEMORY, connect
from .status import Status, read_status
from .update import Report, update
from .walk import Walk, absolute, existing


class Index:
    """An index of files and items: `open` it; it may be shared by threads, and its file by processes.

    >>> with Index.open(":memory:", model) as index:
    ...     _ = index.add([{"id": 1, "text": "Ann drinks tea."}, {"id": 2, "text": "The bus is late."}])
    ...     index.search("Who likes hot drinks?", top=1)[0].id
    '1'
    """

    def __init__(
        self, database: Database, model: Embedder | None, own: bool, make: Callable[..., Embedder] = Embedder
    ) -> None:
        self._database, self._model, self.owns_model, self._make = database, model, own, make
        self._lock = threading.Lock()

    @classmethod
    def open(
        cls,
        path: str | os.PathLike[str],
        model: Embedder | str | os.PathLike[str] | None = None,
        *,
        create: bool = True,
        dims: int | None = None,
        chunk_tokens: int = TOKENS,
        workload: ModelWorkload = "bulk",
        battery_below: int = BATTERY_BELOW,
    ) -> Self:
        """Open an index's file, ":memory:" for none, or make it; closing it leaves an Embedder that was given open.

        `model` may be left out where the file exists: then the model that made it is opened when it is needed. `dims`
        (Matryoshka) and `chunk_tokens`, the length of a passage, are a new index's; `workload` and `battery_below` are
        Embedder's, for a model that is opened here. Raises InputError for what cannot be opened or made,
        SearchIndexError for a file that is damaged or of another vector space.
        """
        name = os.path.abspath(os.fspath(path)) if os.fspath(path) != MEMORY else MEMORY
        if chunk_tokens < 1:
            raise InputError(f"chunk_tokens={chunk_tokens} must be at least 1")
        make = partial(Embedder, workload=workload, battery_below=battery_below)
        connection, exists = connect(name, create)
        opened: Embedder | None = None
        try:
            if not exists and model is None:
                raise InputError(f"{name} is a new index: say which model it is for")
            opened = None if model is None or isinstance(model, Embedder) else make(model)
            used = model if isinstance(model, Embedder) else opened
            meta = space.prepare(connection, exists, name, used, dims, chunk_tokens)
            return cls(Database(name, connection, meta), used, opened is not None, make)
        except BaseException:
            connection.close()
            if opened is not None:
                opened.close()
            raise

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

    @cached_property
    def _documents(self) -> Documents:
        return Documents(self.model, self.meta)

    def add(self, items: Iterable[Mapping[str, Any]]) -> int:
        """Add items, each in place of one with its id; return how many.

        An item is {"id": text or number, "text": ..., "metadata": {...}, "time": date or seconds}; the last two may be
        left out. All are checked before any is embedded, and all appear at once. Raises InputError.
        """
        given = [parse_item(item, number) for number, item in enumerate(items)]
        passages = [self._documents.cut(Extracted(text)) for _, text in given]
        coded = self._documents.encode([passage.text for pieces in passages for passage in pieces])
        entries = []
        for (source, _), pieces in zip(given, passages, strict=True):
            vectors = [next(coded) for _ in pieces]
            if faults := [one for one in vectors if isinstance(one, InputError)]:
                raise faults[0]
            entries.append((source, pieces, [one for one in vectors if not isinstance(one, InputError)]))
        self._database.put(entries)
        self._database.tidy()
        return len(given)

    def add_files(
        self,
        paths: Sequence[str | bytes | os.PathLike[str]] = (),
        *,
        exclude: Sequence[str] = (),
        extract: Sequence[str] = (),
    ) -> Report:
        """Bring the index up to the files under these paths, or under all that it has been given before.

        Hidden files, links, and what a .gitignore leaves out are passed over. `exclude` are globs of names or paths,
        `extract` commands such as "pandoc -t plain {}" or ".docx=pandoc -t plain {}" that print a file's text. What
        cannot be read is told in the report. A kill loses no file that was finished. Raises InputError for a path
        without a file, SearchIndexError while another process does the same.
        """
        commands = [parse_command(command) for command in extract]
        roots = existing(paths)
        with self._database.alone():
            self._database.put([], roots)
            known = [path for (path,) in self._database.rows("SELECT CAST(path AS BLOB) FROM root ORDER BY path")]
            walk = Walk(roots or known, exclude, "" if self._database.path == MEMORY else self._database.path)
            with progress("indexing", unit="files") as step:
                return update(self._database, self._documents, walk, commands, step)

    def search(
        self,
        query: str | Mapping[str, Any] | ArrayLike,
        *,
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
        holds it letter for letter comes first. Passages no nearer than unrelated texts are left out, so that an empty
        list says that nothing fits; `least` is another such cosine, -1 for none. A text is embedded by `server`,
        `http://HOST:PORT` or `unix:PATH` of a running `edge-embed serve` with the same model, where one is named.
        Raises InputError; of a server BackendError and SearchIndexError.

        >>> with Index.open(":memory:", model) as index:
        ...     _ = index.add([{"id": "x", "text": "Tea is served.", "metadata": {"user": "ann"}}])
        ...     [hit.text for hit in index.search("tea", where={"user": "ann"})]
        ['Tea is served.']
        """
        check_top(top)
        left_out = {number for path in without for number in self._database.files_under(absolute(path))}
        asked = Query(
            vector=self._vector(query, server),
            text=query if isinstance(query, str) and hybrid else None,
            top=top,
            filters=make_filters(paths, since, until, where, left_out),
            least=self.meta.reference if least is None else least,
        )
        return self._database.answer(asked)

    def vector_of_file(self, path: str | os.PathLike[str]) -> NDArray[np.float32]:
        """Return the mean of a file's vectors (dims,); raise InputError where it has none in the index."""
        rows = self._database.rows(
            "SELECT v.scale, v.codes FROM vector AS v JOIN passage AS p ON p.id = v.id JOIN source AS s "
            "ON s.id = p.source WHERE s.kind = 'file' AND s.key = ?",
            absolute(path),
        )
        if not rows:
            raise InputError(f"{os.fspath(path)} has no passages in {self._database.path}: index it first")
        mean: NDArray[np.float32] = decode(rows, self.meta.dims).mean(axis=0)
        return mean

    def remove(
        self, ids: Sequence[str | int] = (), *, paths: Sequence[str | os.PathLike[str]] = (), where: Where | None = None
    ) -> int:
        """Remove items by id or by metadata, and files or whole folders by path; return how many went.

        Folders are no longer looked into by `add_files()` either.
        """
        numbers: set[int] = set()
        for id in ids:
            query = "SELECT id FROM source WHERE kind = 'item' AND key = ?"
            numbers |= {number for (number,) in self._database.rows(query, item_key(id, "remove"))}
        if where:
            filters = make_filters(where=where)
            found = self._database.rows(f"SELECT s.id FROM source AS s WHERE 1{filters.sql}", *filters.values)
            numbers |= {number for (number,) in found}
        for path in paths:
            numbers |= self._database.files_under(absolute(path))
        self._database.remove(numbers, [absolute(path) for path in paths])
        self._database.tidy()
        return len(numbers)

    def status(self) -> Status:
        """Say what is in the index.

        >>> with Index.open(":memory:", model) as index:
        ...     index.status().passages
        0
        """
        return read_status(self._database)

    def export(self, path: str | os.PathLike[str]) -> int:
        """Write vectors, float32 (n, dims), as .npy, or with their passages as .parquet; return how many.

        Raises InputError for another suffix, or a file that cannot be written.
        """
        return export(self._database, Path(path))

    def compact(self) -> None:
        """Give back the room of what was removed, and write the derived file anew.

        >>> with Index.open(":memory:", model) as index:
        ...     index.compact()
        """
        self._database.compact()

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

    def _vector(self, query: str | Mapping[str, Any] | ArrayLike, server: str | None) -> NDArray[np.float32]:
        if server is not None:
            if not isinstance(query, str):
                raise InputError(f"server={server!r} embeds texts, got {type(query).__name__}")
            return encode_query(server, query, self.meta)
        if isinstance(query, str | Mapping):
            found: NDArray[np.float32] = self.model.encode_query(
                query, truncate_dim=self.meta.dims, show_progress_bar=False
            )
            return found
        vector = np.asarray(query, np.float32)
        if vector.shape != (self.meta.dims,) or not np.isfinite(vector).all():
            raise InputError(f"the query has shape {vector.shape}, expected finite numbers ({self.meta.dims},)")
        return vector
