"""Index: passages of files and items of the caller's own, searched by meaning and by words."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import Any, Self

from edge_embed.device.background import BATTERY_BELOW
from edge_embed.embedder import Embedder
from edge_embed.errors import InputError
from edge_embed.loading.request import ModelWorkload
from edge_embed.progress import progress

from . import space
from .chunk import TOKENS
from .command import parse as parse_command
from .database import Database, Entry
from .documents import Documents
from .export import export
from .extract import Extracted
from .filters import Where, make_filters
from .items import item_key, parse_item
from .schema import MEMORY, connect
from .searcher import Searcher
from .status import Status, read_status
from .update import Report, update
from .walk import Walk, absolute, existing


class Index(Searcher):
    """An index of files and items: `open` it; it may be shared by threads, and its file by processes.

    >>> with Index.open(":memory:", model) as index:
    ...     _ = index.add([{"id": 1, "text": "Ann drinks tea."}, {"id": 2, "text": "The bus is late."}])
    ...     index.search("Who likes hot drinks?", top=1)[0].id
    '1'
    """

    @classmethod
    def open(
        cls,
        path: str | os.PathLike[str],
        model: Embedder | str | os.PathLike[str] | None = None,
        *,
        create: bool = True,
        dims: int | None = None,
        chunk_tokens: int = TOKENS,
        late_chunking: bool | None = None,
        workload: ModelWorkload = "bulk",
        battery_below: int = BATTERY_BELOW,
    ) -> Self:
        """Open an index's file, ":memory:" for none, or make it; closing it leaves an Embedder that was given open.

        `model` may be left out where the file exists: then the model that made it is opened when it is needed. `dims`
        (Matryoshka), `chunk_tokens`, the length of a passage, and `late_chunking` are a new index's; with the last a
        document is read whole, and each passage pooled over its own tokens, of models that pool the mean of all.
        `workload` and `battery_below` are Embedder's, for a model that is opened here. Raises InputError for what
        cannot be opened or made, SearchIndexError for a file that is damaged or of another vector space.
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
            wanted = space.Wanted(dims, chunk_tokens, late_chunking)
            meta = space.prepare(connection, exists, name, used, wanted)
            return cls(Database(name, connection, meta), used, opened is not None, make)
        except BaseException:
            connection.close()
            if opened is not None:
                opened.close()
            raise

    @cached_property
    def _documents(self) -> Documents:
        return Documents(self.model, self.meta)

    def add(self, items: Iterable[Mapping[str, Any]]) -> int:
        """Add items, each in place of one with its id; return how many.

        An item is {"id": text or number, "text": ..., "metadata": {...}, "time": date or seconds}; the last two may be
        left out. All are checked before any is embedded, and all appear at once. Raises InputError.
        """
        given = [parse_item(item, number) for number, item in enumerate(items)]
        documents = [self._documents.cut(Extracted(text)) for _, text in given]
        entries: list[Entry] = []
        for (source, _), document, made in zip(given, documents, self._documents.encode(documents), strict=True):
            if isinstance(made, InputError):
                raise made
            entries.append((source, document.passages, made))
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

    def remove(
        self, ids: Sequence[str | int] = (), *, paths: Sequence[str | os.PathLike[str]] = (), where: Where | None = None
    ) -> int:
        """Remove items by id or by metadata, and files or whole folders by path; return how many went.

        Folders are no longer looked into by `add_files()` either.
        """
        numbers = self._database.items([item_key(id, "remove") for id in ids])
        if where:
            numbers |= self._database.sources(make_filters(where=where))
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
