"""A whole job, or a shard of it, from wherever it was left."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from edge_embed.errors import InputError, TruncationWarning, warn
from edge_embed.records.row import Chunk
from edge_embed.records.source import Kind

from .cluster import run_on_ray
from .compute import Outcome, compute_chunk
from .embed import Watch
from .folder import JobFolder
from .opened import OpenJob
from .parts import finished
from .settings import Execution, Settings
from .start import start
from .views import make_view
from .watch import Meter, Show, Standing
from .workers import AGAIN, run_workers


@dataclass(frozen=True, kw_only=True)
class Summary:
    """What a job, or a shard of it, came to.

    `rows` were read, `vectors` written, `rejected` rows have none; `computed` texts and `tokens` are of this run.
    `missing` are chunks of other shards that are not done; without any, `files` are what was made of all parts.
    """

    rows: int
    vectors: int
    rejected: int
    computed: int
    tokens: int
    seconds: float
    missing: int
    files: tuple[Path, ...]


def run_job(
    out: Path,
    named: Sequence[str | os.PathLike[str]],
    settings: Settings | None,
    execution: Execution,
    kind: Kind | None = None,
    show: Show = "none",
) -> Summary:
    """Run a job as `run` does; with `settings` None and nothing named as its job.json says."""
    execution.check()
    job, chunks = start(out, named, settings, execution, kind)
    with job:
        index, count = execution.shard
        mine = [chunk for chunk in chunks if chunk.number % count == index]
        meter = Meter(sum(chunk.rows for chunk in mine), show)
        limit = _limit(job.execution, meter.standing.total)
        for outcome in _outcomes(job, mine, meter):
            meter.chunk(outcome)
            _check_rejected(meter.standing, limit, out)
        standing = meter.end()
        if standing.cut:
            warn(f"{standing.cut} texts were cut to {job.model.spec.max_tokens} tokens", TruncationWarning)
        missing = sum(
            finished(job.folder, job.hash, chunk) is None for chunk in chunks if chunk.number % count != index
        )
        files = () if missing else tuple(make_view(job.folder, job.settings.format, chunks))
    return _summary(standing, missing, files)


def _outcomes(job: OpenJob, mine: Sequence[Chunk], meter: Meter) -> Iterator[Outcome]:
    """Count what is done already and yield the outcomes of the rest."""
    todo = []
    for chunk in mine:
        footer = finished(job.folder, job.hash, chunk)
        if footer is None:
            todo.append(chunk)
        else:
            job.folder.partial(chunk.number).unlink(missing_ok=True)  # a kill may come just before this is done
            meter.found(Outcome(chunk.rows, footer["vectors"], footer["rejected"]))
    if job.execution.engine == "ray" and todo:
        return _counted(run_on_ray(job.folder.path, todo, job.execution), meter)
    if job.execution.processes == 1 or len(todo) < 2:
        return _alone(job, todo, meter)
    return run_workers(job.folder.path, todo, job.execution, meter)


def _counted(outcomes: Iterator[Outcome], meter: Meter) -> Iterator[Outcome]:
    """Count chunks' texts when they are done: nobody tells of their batches."""
    for outcome in outcomes:
        meter.batch(outcome.computed, outcome.tokens)
        yield outcome


class _Watching(Watch):
    """Count batches."""

    def __init__(self, meter: Meter) -> None:
        self._meter = meter

    def after(self, texts: int, tokens: int) -> None:
        self._meter.batch(texts, tokens)


def _alone(job: OpenJob, todo: Sequence[Chunk], meter: Meter) -> Iterator[Outcome]:
    """Compute chunks in this process; one that another process is at is asked for again when the others are done."""
    watch = _Watching(meter)
    left = list(todo)
    while left:
        others = []
        for chunk in left:
            outcome = compute_chunk(job, chunk, watch)
            if outcome is None:
                others.append(chunk)
            else:
                yield outcome
        left = others
        time.sleep(AGAIN if left else 0)


def _limit(execution: Execution, rows: int) -> float | None:
    allowed = execution.max_rejected
    return allowed * rows if allowed is not None and allowed < 1 else allowed


def _check_rejected(standing: Standing, limit: float | None, out: Path) -> None:
    if limit is not None and standing.rejected > limit:
        raise InputError(
            f"{standing.rejected} rows of {standing.total} were rejected, more than the {limit:g} that are allowed: "
            f"see {JobFolder(out).parts}/*.rejected.jsonl"
        )


def _summary(standing: Standing, missing: int, files: tuple[Path, ...]) -> Summary:
    return Summary(
        rows=standing.rows,
        vectors=standing.vectors,
        rejected=standing.rejected,
        computed=standing.computed,
        tokens=standing.tokens,
        seconds=standing.seconds,
        missing=missing,
        files=files,
    )
