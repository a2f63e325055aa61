"""What every engine is asked for: texts in bulk, short ones, single queries, starts, many threads, a busy machine."""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.report import progress
from benchmarks.speed.load import drop
from benchmarks.timing import alternate
from benchmarks.worker import Answer, Worker

from .catalogue import Ready

REST = 0.2  # seconds in which an engine's spinning threads come to rest
TRIED = 16  # texts, by which it is estimated how long all take
SLOW = 40.0  # seconds
ASKING = (1, 2, 4, 8, 16, 32)
BUSY = "import itertools\nfor _ in itertools.count(): pass"
Row = dict[str, Any]


class Running:
    """Engines that run, each in its process; one that fails is left out from then on, with the last line it said."""

    def __init__(self) -> None:
        self.workers: dict[str, Worker] = {}
        self.refused: dict[str, str] = {}
        self.started: dict[str, float] = {}
        self._messages: dict[str, Any] = {}

    def start(self, ready: Ready) -> None:
        """Start an engine, if it can be."""
        name = ready.row.name
        if ready.start is None:
            self.refused[name] = ready.refused or ""
            return
        progress("start", name)
        self._messages[name] = tempfile.TemporaryFile("w+")  # noqa: SIM115  close() closes it
        begin = time.perf_counter()
        try:
            self.workers[name] = ready.start(messages=self._messages[name])
            self.started[name] = time.perf_counter() - begin
        except RuntimeError:
            self.refused[name] = self._last_words(name)

    def ask(self, name: str, request: Mapping[str, Any]) -> Answer | None:
        """Ask an engine -> its answer, or None where it has failed."""
        if name not in self.workers:
            return None
        try:
            return self.workers[name].ask(request)
        except (RuntimeError, BrokenPipeError):
            self.refused[name] = self._last_words(name)
            del self.workers[name]
            return None

    def rounds(
        self, names: Sequence[str], request: Mapping[str, Any], rounds: int, warm_up: int = 0
    ) -> dict[str, list[Answer]]:
        """Let engines take turns -> their answers; of those that failed, none."""
        calls = {name: partial(self.ask, name, request) for name in names if name in self.workers}
        found = alternate(calls, rounds, warm_up, rest=REST)
        return {name: whole for name, answers in found.items() if len(whole := [a for a in answers if a]) == rounds}

    def close(self) -> None:
        """End all."""
        for worker in self.workers.values():
            worker.close()
        for messages in self._messages.values():
            messages.close()

    def _last_words(self, name: str) -> str:
        messages = self._messages[name]
        messages.seek(0)
        lines = [line.strip() for line in messages.read().splitlines() if line.strip()]
        return (lines[-1] if lines else "it ended without a word")[:200]


def request(
    texts: Path, first: int, way: str | int = "bulk", save: Path | None = None, repeat: int | None = None
) -> Row:
    """Return a request of the engines' protocol."""
    return {"texts": str(texts), "first": first, "way": way, "save": str(save) if save else None, "repeat": repeat}


def bulk(running: Running, texts: Path, count: int, rounds: int, folder: Path) -> dict[str, Row]:
    """Embed all texts in rounds -> wall and CPU seconds of each, and the memory behind the last; vectors are kept.

    An engine that would take longer than SLOW gets as many texts as fit, once, and is left out of what follows.
    """
    told = {}
    for name in list(running.workers):
        first = running.ask(name, request(texts, TRIED))
        able = count if first is None else min(count, max(TRIED, int(TRIED * SLOW / first.seconds.wall)))
        answer = running.ask(name, request(texts, able, save=vectors_of(folder, name)))
        if answer and able < count:
            told[name] = seconds([answer]) | {"memory": answer.details["memory"], "count": able}
            running.workers.pop(name).close()
    for name, found in running.rounds(list(running.workers), request(texts, count), rounds).items():
        told[name] = seconds(found) | {"memory": found[-1].details["memory"], "count": count}
    return told


def vectors_of(folder: Path, name: str) -> Path:
    """Return where an engine's vectors are kept."""
    return folder / f"{name.replace(' ', '-').replace(',', '')}.npy"


def cosines(folder: Path, names: Sequence[str], oracle: str) -> dict[str, Row]:
    """Compare vectors with the oracle's -> the mean cosine, the hundredth part that is furthest, and the least."""
    truth = np.load(vectors_of(folder, oracle)).astype(np.float64)
    found = {}
    for name in names:
        with suppress(FileNotFoundError):
            mine = np.load(vectors_of(folder, name)).astype(np.float64)
            real = truth[: len(mine)]
            each = (mine * real).sum(1) / np.linalg.norm(mine, axis=1) / np.linalg.norm(real, axis=1)
            found[name] = {"mean": each.mean(), "p1": np.quantile(each, 0.01), "least": each.min()}
    return found


def short(running: Running, texts: Path, count: int, rounds: int) -> dict[str, Row]:
    """Embed short texts in bulk."""
    return {
        name: seconds(found)
        for name, found in running.rounds(list(running.workers), request(texts, count), rounds).items()
    }


def single(running: Running, queries: Path, count: int, rounds: int) -> dict[str, Row]:
    """Embed queries one after another, a part of them a round -> percentiles in ms, and CPU ms a query."""
    names = list(running.workers)
    for name in names:
        running.ask(name, request(queries, 20, "single"))
    each = max(1, count // rounds)
    answers = running.rounds(names, request(queries, each, "single"), rounds)
    return {name: percentiles(found, each) for name, found in answers.items()}


def percentiles(answers: Sequence[Answer], each: int) -> Row:
    """Put queries of all rounds together."""
    waits = 1e3 * np.array([second for answer in answers for second in answer.details["seconds"]])
    p50, p95, p99 = (float(value) for value in np.quantile(waits, (0.5, 0.95, 0.99)))
    cpu = 1e3 * statistics.median(answer.seconds.cpu / each for answer in answers)
    return {"p50": p50, "p95": p95, "p99": p99, "cpu_ms": cpu, "count": len(waits)}


def asking(running: Running, names: Sequence[str], queries: Path, count: int) -> dict[str, Row]:
    """Let 1 to 32 threads of a process ask for one text at a time -> texts a second, and the 95th percentile in ms."""
    found: dict[str, Row] = {}
    for threads in ASKING:
        for name, (answer,) in running.rounds(names, request(queries, count, threads), 1).items():
            p95 = 1e3 * float(np.quantile(answer.details["seconds"], 0.95))
            found.setdefault(name, {})[str(threads)] = {"per_s": count / answer.seconds.wall, "p95": p95}
    return found


@contextmanager
def busy(count: int) -> Iterator[None]:
    """Keep so many CPUs busy."""
    processes = [subprocess.Popen([sys.executable, "-c", BUSY]) for _ in range(count)]
    try:
        yield
    finally:
        for process in processes:
            process.kill()
            process.wait()


def beside_busy(
    running: Running, names: Sequence[str], texts: Path, count: int, rounds: int, cpus: int
) -> dict[str, Row]:
    """Embed texts while as many processes as CPUs compute."""
    with busy(cpus):
        return {name: seconds(found) for name, found in running.rounds(names, request(texts, count), rounds).items()}


def starts(ready: Sequence[Ready], queries: Path, rounds: int, dropped: int) -> dict[str, Row]:
    """Measure seconds from the start of a process to its first vector, also with its files out of the page cache."""
    found: dict[str, Row] = {item.row.name: {"warm": [], "dropped": []} for item in ready}
    for kind, turns in (("warm", rounds), ("dropped", dropped)):
        for _ in range(turns):
            for item in ready:
                if kind == "dropped":
                    drop_all(item.files)
                found[item.row.name][kind].append(first_vector(item, queries))
                progress(kind, item.row.name, f"{found[item.row.name][kind][-1]:.2f}")
    return found


def first_vector(ready: Ready, queries: Path) -> float:
    """Start an engine and ask for one vector -> seconds."""
    assert ready.start is not None
    with tempfile.TemporaryFile("w+") as messages:
        begin = time.perf_counter()
        with ready.start(messages=messages) as worker:
            worker.ask(request(queries, 1))
            return time.perf_counter() - begin


def drop_all(places: Sequence[Path]) -> None:
    """Drop all files of folders from the system's cache."""
    for place in places:
        for path in [place] if place.is_file() else place.rglob("*"):
            if path.is_file():
                drop(path)


def growth(
    start: Callable[[Ready], Running], ready: Sequence[Ready], queries: Path, counts: Sequence[int]
) -> dict[str, Row]:
    """Embed ever more short texts, each count in a fresh process -> seconds and peak MB."""
    found: dict[str, Row] = {item.row.name: {} for item in ready}
    for count in counts:
        for item in ready:
            running = start(item)
            answer = running.ask(item.row.name, request(queries, 200, repeat=count))
            running.close()
            if answer:
                found[item.row.name][str(count)] = {
                    "s": answer.seconds.wall,
                    "peak_mb": answer.details["memory"]["peak"],
                }
    return found


def seconds(answers: Sequence[Answer]) -> Row:
    """Return wall and CPU seconds of each round."""
    return {"wall": [answer.seconds.wall for answer in answers], "cpu": [answer.seconds.cpu for answer in answers]}
