"""Several processes for one job: each opens its own model, whose weights the system maps once."""

from __future__ import annotations

import contextlib
import json
import queue
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from edge_embed import errors
from edge_embed.device.machine import this_device
from edge_embed.errors import BackendError, EdgeEmbedError
from edge_embed.records.row import Chunk

from .compute import Outcome
from .settings import Execution
from .watch import Meter

DEATHS = 3  # of workers on the same chunk, after which it is given up
BEGINNING = -1  # instead of a chunk's number: deaths in a row of workers that had none yet
LEAVE = 5.0  # seconds to end by itself
AGAIN = 1.0  # seconds before a chunk is asked for again that another process was at


class Worker:
    """A process that computes chunks, and the one that it is at."""

    def __init__(self, folder: Path, execution: Execution, said: queue.Queue[tuple[Worker, dict[str, Any]]]) -> None:
        command = [sys.executable, "-m", "edge_embed.jobs.worker"]
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, encoding="utf-8"
        )
        self.chunk: Chunk | None = None
        self._said = said
        self.send({"folder": str(folder), "execution": execution.to_json()})
        threading.Thread(target=self._listen, daemon=True).start()

    def send(self, value: object) -> None:
        """Write a line; whether the process lives is seen elsewhere."""
        assert self.process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.write(json.dumps(value) + "\n")
            self.process.stdin.flush()

    def compute(self, chunk: Chunk) -> None:
        """Hand the process a chunk."""
        self.chunk = chunk
        self.send(chunk.number)

    def end(self) -> None:
        """Let the process keep what it has and end; one that does not is killed."""
        assert self.process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.close()
        try:
            self.process.wait(LEAVE)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def _listen(self) -> None:
        assert self.process.stdout is not None
        with self.process.stdout as lines:
            for line in lines:
                self._said.put((self, json.loads(line)))
        self._said.put((self, {"what": "ended"}))


def run_workers(folder: Path, chunks: Sequence[Chunk], execution: Execution, meter: Meter) -> Iterator[Outcome]:
    """Yield the outcome of each chunk, in the order in which they are done.

    A worker that dies is replaced; a chunk on which three have died ends the job with BackendError.
    """
    waiting = deque(chunks)
    left, deaths = len(chunks), dict[int, int]()
    said: queue.Queue[tuple[Worker, dict[str, Any]]] = queue.Queue()
    execution = _shared(execution, min(execution.processes, len(chunks)))
    with _ended() as workers:
        workers += [Worker(folder, execution, said) for _ in range(execution.processes)]
        while left:
            worker, word = said.get()
            if word["what"] == "batch":
                meter.batch(word["texts"], word["tokens"])
                continue
            if word["what"] == "error":
                raise error_of(word)
            if word["what"] == "ended":
                workers.remove(worker)
                _lost(worker, waiting, deaths)
                worker.end()
                workers.append(Worker(folder, execution, said))
                continue
            if word["what"] == "chunk":
                assert worker.chunk is not None
                if word["outcome"] is None:  # another process is at it: asked for again when the others are done
                    waiting.append(worker.chunk)
                    threading.Event().wait(AGAIN if len(waiting) == 1 else 0)
                else:
                    left -= 1
                    yield Outcome(**word["outcome"])
            if word["what"] == "ready":
                deaths.pop(BEGINNING, None)
            worker.chunk = None
            if waiting:
                worker.compute(waiting.popleft())


def _shared(execution: Execution, processes: int) -> Execution:
    """Give each process its share of the threads, and in the background one."""
    share = 1 if execution.workload == "background" else max(1, this_device().threads // processes)
    threads = execution.threads or share
    return replace(execution, processes=processes, threads=threads)


def _lost(worker: Worker, waiting: deque[Chunk], deaths: dict[int, int]) -> None:
    """Put a dead worker's chunk back; give up a chunk that kills, and workers that die before they have one."""
    number = BEGINNING if worker.chunk is None else worker.chunk.number
    deaths[number] = deaths.get(number, 0) + 1
    if deaths[number] >= DEATHS:
        what = "before they could begin" if number == BEGINNING else f"on chunk {number}"
        raise BackendError(
            f"{DEATHS} processes died {what}, the last with status {worker.process.wait()}: out of memory? Try fewer "
            "--processes, or a smaller level"
        )
    if worker.chunk is not None:
        waiting.appendleft(worker.chunk)


def told(error: EdgeEmbedError) -> dict[str, str]:
    """Return what another process makes the error of again, by `error_of`."""
    return {"message": str(error), "kind": type(error).__name__}


def error_of(word: Mapping[str, Any]) -> EdgeEmbedError:
    """Return the error that another process told of."""
    kind = getattr(errors, word["kind"], EdgeEmbedError)
    error: EdgeEmbedError = kind(word["message"])
    return error


@contextmanager
def _ended() -> Iterator[list[Worker]]:
    """Give a list for workers, and end those in it whatever happens."""
    workers: list[Worker] = []
    try:
        yield workers
    finally:
        for worker in workers:  # all of them are told before the first is waited for
            with contextlib.suppress(BrokenPipeError):
                assert worker.process.stdin is not None
                worker.process.stdin.close()
        for worker in workers:
            worker.end()
