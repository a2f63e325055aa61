"""A job on a cluster of Ray: numbers of chunks are its rows, and the function that runs here is its actors' work.

Ray schedules, starts lost chunks again, and moves no text and no vector: actors read the inputs and write the parts
themselves, in a folder that every node sees under the same path. Ray's own writers and checkpoints are left aside:
their files are others, and their list of finished rows is held in memory by every actor.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from edge_embed.errors import BackendError, EdgeEmbedError, MissingDependencyError
from edge_embed.records.row import Chunk
from edge_embed.remedies.installing import install_extra

from .compute import Outcome, compute_chunk
from .embed import Watch
from .opened import OpenJob
from .plan import read_chunks
from .settings import Execution
from .workers import AGAIN, error_of, told

LEFT = 1.0  # CPUs of the cluster that actors leave to Ray's own tasks, without which nothing hands them chunks
WAVE = 10_000  # chunks that Ray is handed at once: each is an object of its, which the driver keeps track of
QUIET = {"RAY_USAGE_STATS_ENABLED": "0"}  # Ray would tell its makers of each cluster


class Work:
    """An actor: opens the job once and computes the chunks whose numbers it is given."""

    def __init__(self, folder: str, execution: dict[str, Any]) -> None:
        ran = Execution.from_json(execution)
        self._watch = Watch()
        self._failed: dict[str, str] | None = None
        try:
            self._job = OpenJob(Path(folder), ran)
            self._chunks = read_chunks(self._job.folder.chunks, self._job.job)
        except EdgeEmbedError as error:  # told with each chunk: an actor that cannot begin is begun again for ever
            self._failed = told(error)

    def __call__(self, batch: Mapping[str, Any]) -> dict[str, Any]:
        """Compute a batch of one number; what came of it is JSON, since rows of Ray have few types."""
        (number,) = (int(one) for one in batch["chunk"])
        return {"chunk": [number], "said": [json.dumps(self._compute(number))]}

    def close(self) -> None:
        """Free the model; Ray ends an actor with its process, and does not ask."""
        if self._failed is None:
            self._job.close()

    def _compute(self, number: int) -> dict[str, Any]:
        if self._failed is not None:
            return {"error": self._failed}
        try:
            outcome = compute_chunk(self._job, self._chunks[number], self._watch)
        except EdgeEmbedError as error:
            return {"error": told(error)}
        return {"outcome": None if outcome is None else asdict(outcome)}


def run_on_ray(folder: Path, chunks: Sequence[Chunk], execution: Execution) -> Iterator[Outcome]:
    """Yield the outcome of each chunk, in the order in which they are done.

    The cluster is that of RAY_ADDRESS, or of the job that this process is; without either, one of this machine that
    ends with the job. Raises MissingDependencyError without Ray, BackendError where the cluster has no room.
    """
    with _cluster() as ray:
        execution = _placed(execution, float(ray.cluster_resources().get("CPU", 0)), len(chunks))
        left = [chunk.number for chunk in chunks]
        while left:
            wave, left = left[:WAVE], left[WAVE:]
            others = []
            for number, said in _computed(ray, folder, wave, execution):
                if "error" in said:
                    raise error_of(said["error"])
                if said["outcome"] is None:  # a process outside of the cluster is at it
                    others.append(number)
                else:
                    yield Outcome(**said["outcome"])
            time.sleep(AGAIN if others and not left else 0)
            left += others


def _computed(
    ray: Any, folder: Path, numbers: Sequence[int], execution: Execution
) -> Iterator[tuple[int, dict[str, Any]]]:
    """Hand out numbers of chunks, one at a time, and yield what actors say of each."""
    size = {"num_cpus": execution.cpus, **({"num_gpus": execution.gpus} if execution.gpus else {})}
    items = ray.data.from_items([{"chunk": number} for number in numbers], override_num_blocks=len(numbers))
    done = items.map_batches(
        Work,
        fn_constructor_args=(str(folder.absolute()), execution.to_json()),
        batch_size=1,
        concurrency=min(execution.processes, len(numbers)),
        **size,
    )
    try:
        for row in done.iter_rows():
            yield int(row["chunk"]), json.loads(row["said"])
    except ray.exceptions.RayError as error:
        raise BackendError(f"Ray gave the job up: {_last_line(error)}") from error


def _placed(execution: Execution, cpus: float, chunks: int) -> Execution:
    """State what an actor takes, so that the pool leaves Ray a CPU; raise BackendError for one that leaves none."""
    actors = min(execution.processes, chunks)
    each = execution.cpus or _share(max(cpus - LEFT, cpus / 2) / actors)
    if each * actors >= cpus:
        raise BackendError(
            f"{actors} processes of {each:g} CPUs leave none of the cluster's {cpus:g} to hand out work: ask for fewer "
            "--processes or --cpus"
        )
    return replace(execution, processes=actors, cpus=each, threads=execution.threads or max(1, int(each)))


def _share(cpus: float) -> float:
    """Round down to what Ray takes: hundredths up to one CPU, whole ones above."""
    return float(int(cpus)) if cpus >= 1 else max(0.01, int(100 * cpus) / 100)


@contextmanager
def _cluster() -> Iterator[Any]:
    """Give Ray, connected; a cluster that was made here ends with the block."""
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)
    try:
        import ray
        import ray.data
    except ImportError as error:
        raise MissingDependencyError(f"--engine ray needs Ray: {install_extra('ray')}") from error
    ours = not ray.is_initialized()
    if ours:
        ray.init(log_to_driver=False, logging_level="ERROR")
    context = ray.data.DataContext.get_current()
    before, context.enable_progress_bars = context.enable_progress_bars, False
    try:
        yield ray
    finally:
        context.enable_progress_bars = before
        if ours:
            ray.shutdown()


def _last_line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__
