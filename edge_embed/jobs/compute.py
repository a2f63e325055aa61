"""One chunk of a job -> its part, which depends on the job and the chunk alone, whoever computes it, and when."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_embed.pipeline.texts import text_fault
from edge_embed.pipeline.windows import TruncationReport
from edge_embed.records.row import Chunk, Fault, Input, Row

from .embed import Computed, Watch, embed
from .folder import claimed
from .opened import OpenJob
from .part import Part
from .partial import Frame, Partial
from .parts import finished, write_part

EVERY = 2.0  # seconds between frames; with the batch in work what a kill loses


@dataclass(frozen=True)
class Item:
    """Something to embed: the row that it is of, by number, and its place there if the row was cut into passages."""

    row: int
    input: Input
    place: tuple[int, int] | None = None


@dataclass
class Outcome:
    """What became of a chunk; `tokens` and `computed` count what was computed now, not found or taken up again."""

    rows: int = 0
    vectors: int = 0
    rejected: int = 0
    computed: int = 0
    tokens: int = 0
    cut: int = 0


@dataclass
class _Work:
    """The distinct inputs of a chunk and where their vectors go."""

    keys: list[bytes]
    inputs: list[Input]
    vectors: NDArray[Any]
    faults: dict[int, Fault] = field(default_factory=dict)


def compute_chunk(job: OpenJob, chunk: Chunk, watch: Watch | None = None) -> Outcome | None:
    """Make a chunk's part, unless it is there; None where another process is at it.

    Raises InputError for an input that was changed or a disk that is full, BackendError; whatever happens, a part is
    whole or absent.
    """
    partial = job.folder.partial(chunk.number)
    with claimed(partial) as mine:
        if not mine:
            return None
        footer = finished(job.folder, job.hash, chunk)
        if footer is None:
            outcome = _compute(job, chunk, watch or Watch())
        else:
            partial.unlink(missing_ok=True)
            outcome = Outcome(chunk.rows, footer["vectors"], footer["rejected"])
    return outcome


def _compute(job: OpenJob, chunk: Chunk, watch: Watch) -> Outcome:
    rows = job.rows(chunk)
    faults = {n: row.fault for n, row in enumerate(rows) if row.fault is not None}
    items = [item for n, row in enumerate(rows) if row.input is not None for item in _items(job, n, row, faults)]
    number: dict[bytes, int] = {}  # of each distinct input
    keys = [_key(job, item, n) for n, item in enumerate(items)]
    for key in keys:
        number.setdefault(key, len(number))
    first = {number[key]: item.input for key, item in zip(reversed(keys), reversed(items), strict=True)}
    work = _Work([*number], [first[n] for n in range(len(number))], np.zeros((len(number), job.width), job.dtype))
    outcome = _embed(job, chunk, work, watch)
    places = [number[key] for key in keys]
    for item, place in zip(items, places, strict=True):
        if place in work.faults:
            faults.setdefault(item.row, work.faults[place])
    kept = [(item, place) for item, place in zip(items, places, strict=True) if item.row not in faults]
    part = Part([_fields(job, chunk, rows[item.row], item) for item, _ in kept], work.vectors[[n for _, n in kept]])
    rejected = b"".join(_rejected(job, chunk, rows[n], faults[n]) for n in sorted(faults))
    write_part(job.folder, job.job, job.hash, chunk, part, rejected)
    outcome.rows, outcome.vectors, outcome.rejected = chunk.rows, len(kept), len(faults)
    return outcome


def _items(job: OpenJob, number: int, row: Row, faults: dict[int, Fault]) -> list[Item]:
    """Make what is to be embedded of a row; none where its text is not one that a tokenizer can take."""
    given = row.input
    assert given is not None
    text = given if isinstance(given, str) else given.get("text")
    if text is not None and (fault := text_fault(text)):
        faults[number] = Fault("refused", f"it {fault}")
        return []
    if job.passages is None or not isinstance(given, str):
        return [Item(number, given)]
    return [Item(number, given[start:stop], (start, stop)) for start, stop in job.passages.places(given)]


def _key(job: OpenJob, item: Item, number: int) -> bytes:
    """Name what is to be computed; an image, or a text that is not to be shared, by its own number."""
    if not isinstance(item.input, str) or not job.execution.dedupe:
        return number.to_bytes(8, "big")
    return hashlib.blake2b(item.input.encode(), key=job.key, digest_size=16).digest()


def _embed(job: OpenJob, chunk: Chunk, work: _Work, watch: Watch) -> Outcome:
    """Fill in the vectors: from the cache, from what an interrupted run left, and by computing the rest."""
    known = job.cache.find([key for key in work.keys if len(key) == 16]) if job.cache else {}
    size = job.width * job.dtype.itemsize
    todo = []
    for n, key in enumerate(work.keys):
        if len(data := known.get(key, b"")) == size and size:
            work.vectors[n] = np.frombuffer(data, job.dtype)
        else:
            todo.append(n)
    name = hashlib.blake2b(b"".join(work.keys[n] for n in todo), digest_size=16).hexdigest()
    partial = Partial(
        job.folder.partial(chunk.number), f"{job.hash} {chunk.hash} {name}", len(todo), job.width, job.dtype
    )
    done: dict[int, int] = {}
    for frame in partial.read():
        _take(work, todo, frame.positions, frame.vectors, frame.faults)
        for window, count in frame.steps.items():
            done[window] = done.get(window, 0) + count
    report, outcome = TruncationReport(job.model.spec.max_tokens), Outcome()
    waiting, last = list[Computed](), time.monotonic()

    def due() -> bool:
        return time.monotonic() - last >= EVERY

    for found in embed(job.model, [work.inputs[n] for n in todo], job.options, done, report, watch, due):
        _take(work, todo, found.positions, found.vectors, found.faults)
        outcome.computed, outcome.tokens = outcome.computed + len(found.positions), outcome.tokens + found.tokens
        waiting += [found] if found.batches else []
        if waiting and due():
            partial.append(_frame(waiting))
            waiting, last = [], time.monotonic()
    outcome.cut = report.cut
    if job.cache:
        fresh = {work.keys[n]: work.vectors[n].tobytes() for n in todo if n not in work.faults}
        job.cache.add({key: data for key, data in fresh.items() if len(key) == 16})
    return outcome


def _take(
    work: _Work, todo: Sequence[int], at: NDArray[np.int64], vectors: NDArray[Any], faults: Mapping[int, Fault]
) -> None:
    """Put vectors and faults, whose positions count what was to be computed, in their places."""
    if len(at):
        work.vectors[np.array(todo)[at]] = vectors
    work.faults.update({todo[n]: fault for n, fault in faults.items()})


def _frame(batches: Sequence[Computed]) -> Frame:
    steps: dict[int, int] = {}
    faults: dict[int, Fault] = {}
    for batch in batches:
        steps[batch.window] = steps.get(batch.window, 0) + batch.batches
        faults |= batch.faults
    positions = np.concatenate([batch.positions for batch in batches])
    return Frame(steps, positions, np.concatenate([batch.vectors for batch in batches]), faults)


def _fields(job: OpenJob, chunk: Chunk, row: Row, item: Item) -> dict[str, Any]:
    """Say where a vector comes from."""
    fields: dict[str, Any] = {"file": job.name(chunk), "line": row.line}
    fields |= {} if row.id is None else {"id": row.id}
    return fields if item.place is None else {**fields, "start": item.place[0], "stop": item.place[1]}


def _rejected(job: OpenJob, chunk: Chunk, row: Row, fault: Fault) -> bytes:
    """Say which row has no vector, and why; its text only where that was asked for."""
    told: dict[str, Any] = {"file": job.name(chunk), "line": row.line, "offset": row.offset, "id": row.id}
    told |= {"reason": fault.reason, "message": fault.message}
    if job.settings.with_text and row.input is not None:
        told["input"] = row.input
    return json.dumps(told, ensure_ascii=True).encode() + b"\n"
