"""A job that can be worked on: its description, its model, its inputs, each opened once a process."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np

from edge_embed.embedder import Embedder
from edge_embed.records.row import Chunk, Row
from edge_embed.records.source import Source

from .cache import Cache
from .description import describe_model, job_hash, options_of, refuse_another
from .folder import JobFolder, canonical, read_job
from .parts import suffix_of
from .passages import Passages
from .plan import columns_of
from .settings import Execution, Settings


class OpenJob:
    """What `compute_chunk` needs of a job whose job.json is written: a worker opens it by itself.

    `model` is one that was opened for it already, and is closed with it.
    """

    def __init__(self, folder: Path, execution: Execution, model: Embedder | None = None) -> None:
        self.job = read_job(folder)
        self.settings = Settings.from_json(self.job["options"])
        self.folder = JobFolder(folder, suffix_of(self.settings.format))
        self.execution, self.hash = execution, job_hash(self.job)
        reference = execution.model or str(self.job["model"].get("reference"))
        self.model = model or open_model(reference, self.settings, execution)
        try:
            now = describe_model(self.model, reference, self.settings)
            refuse_another({"model": self.job["model"]}, {"model": now}, folder)
            self.options = options_of(self.model, self.settings)
            self.passages = Passages(self.model, self.settings) if self.settings.chunk_tokens else None
            self.cache = Cache(execution.cache) if execution.cache else None
        except BaseException:
            self.model.close()
            raise
        none = self.model._opened.pipeline.finish(np.empty((0, self.model.spec.dim), np.float32), self.options)
        self.width, self.dtype = int(none.shape[1]), none.dtype
        self._source: tuple[int, Source] | None = None

    @cached_property
    def key(self) -> bytes:
        """What tells vectors of this model and its options from others, 64 bytes."""
        facts: Mapping[str, Any] = {key: one for key, one in self.job["model"].items() if key != "reference"}
        facts = {**facts, "truncation": self.settings.truncation, "special_tokens": self.settings.special_tokens}
        return hashlib.blake2b(canonical({**facts, "release": self.job["release"]})).digest()

    def rows(self, chunk: Chunk) -> list[Row]:
        """Read a chunk's rows; the input stays open for the next of its chunks."""
        if self._source is None or self._source[0] != chunk.input:
            self._close_source()
            stated = self.job["inputs"][chunk.input]
            path = self.execution.inputs[chunk.input] if self.execution.inputs else Path(stated["path"])
            self._source = (chunk.input, Source(path, stated["kind"], columns_of(self.settings)))
        return self._source[1].rows(chunk)

    def name(self, chunk: Chunk) -> str:
        """Return the name that outputs give to a chunk's input."""
        return str(self.job["inputs"][chunk.input]["name"])

    def close(self) -> None:
        """Free the model and close all files."""
        self._close_source()
        if self.cache is not None:
            self.cache.close()
        self.model.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _close_source(self) -> None:
        if self._source is not None:
            self._source[1].close()
            self._source = None


def open_model(reference: str, settings: Settings, execution: Execution) -> Embedder:
    """Open the model as a job asks for it; in the background it waits by itself."""
    return Embedder(
        reference,
        task=settings.task,
        workload=execution.workload,
        battery_below=execution.battery_below,
        threads=execution.threads,
        special_tokens=settings.special_tokens,
    )
