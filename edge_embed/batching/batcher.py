"""One owner of one engine: takes the ring's next rows, computes them, and tells each request when it is done.

`step` does that once, in the caller's thread; the owner's thread, started with the first request, does nothing else.
"""

from __future__ import annotations

import atexit
import os
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple, Protocol

import numpy as np

from edge_embed.errors import BackendError

from .rate import Rate
from .request import Request, Row, Vector
from .ring import Ring, Taken


class Engine(Protocol):
    """What computes rows, one call at a time; `budgets` bound a call of each kind: rows times the longest's length."""

    @property
    def budgets(self) -> Mapping[str, int]:
        """The budget of each kind of rows."""

    def compute(self, rows: Sequence[Row]) -> Sequence[Vector | Row]:
        """Return a vector for each row, or the row that it has become and that is to be computed in its turn."""


class EngineCall(NamedTuple):
    """One call of the engine: rows, their lengths together, those with padding, and seconds."""

    texts: int
    tokens: int
    padded: int
    seconds: float


class Queued(NamedTuple):
    """What waits: requests, their texts, and the tokens of these."""

    requests: int
    texts: int
    tokens: int


class Batcher:
    """Requests in, vectors out. `observe` is called with each EngineCall, in the owner's thread.

    `abandoned` counts rows that were dropped since nobody waited for them any more.
    """

    def __init__(
        self,
        engine: Engine,
        clock: Callable[[], float] = time.monotonic,
        observe: Callable[[EngineCall], object] = lambda call: None,
    ) -> None:
        self._engine, self._clock, self._observe = engine, clock, observe
        self._ring, self._rate = Ring(engine.budgets), Rate()
        self._changed = threading.Condition()
        self._running: tuple[float, float] | None = None  # when the call began, and the seconds that it may take
        self._closing, self._pid = False, os.getpid()
        self._thread: threading.Thread | None = None
        self.abandoned = 0

    def submit(self, request: Request) -> None:
        """Let a request wait for its turn; one without rows is done at once.

        Raises BackendError where this was closed, or was made in the process that this one was forked from.
        """
        if os.getpid() != self._pid:
            raise BackendError("this model's thread lives in the process that this one was forked from: open one here")
        with self._changed:
            if self._closing:
                raise BackendError("this model was closed")
            request.submitted = self._clock()
            self._ring.add(request)
            done = request.settle()
            self._changed.notify()
        if done:
            request.on_done()

    def cancel(self, request: Request) -> None:
        """Drop what a request has waiting; it is told nothing any more."""
        with self._changed:
            request.ended = True
            self.abandoned += self._ring.remove(request)

    def queued(self) -> Queued:
        """Tell how much waits."""
        return Queued(len(self._ring), self._ring.rows, self._ring.lengths)

    def running(self) -> tuple[float, float] | None:
        """Return for how many seconds the engine's call has run, and how many were predicted; None between calls."""
        running = self._running
        return None if running is None else (self._clock() - running[0], running[1])

    def predicted_wait(self, tokens: int = 0) -> float:
        """Return in how many seconds what waits, and so many tokens more, will be done; 0 before the first call."""
        running = self.running()
        rest = 0.0 if running is None else max(0.0, running[1] - running[0])
        return rest + self._rate.backlog(self._ring.lengths + tokens)

    def start(self) -> None:
        """Start the owner's thread, unless it runs."""
        with self._changed:
            if self._thread is None and not self._closing:
                self._thread = threading.Thread(target=self._own, name="edge-embed-batcher", daemon=True)
                self._thread.start()
                atexit.register(self.close)  # a daemon that computes while Python ends would be torn out of native code

    def close(self, drain: bool = False) -> None:
        """Stop after the running call, or with `drain` when nothing waits; what waits otherwise gets a BackendError."""
        atexit.unregister(self.close)
        with self._changed:
            self._closing = True
            left = [] if drain and self._thread is not None else [*self._ring]
            done = [request for request in left if self._give_up(request)]
            self._changed.notify()
        for request in done:
            request.on_done()
        if self._thread not in (None, threading.current_thread()) and os.getpid() == self._pid:
            self._thread.join()

    def step(self) -> bool:
        """Compute the next batch; False if nothing waits."""
        with self._changed:
            taken = self._ring.take()
            if not taken:
                return False
            lengths = [one.row.length for one in taken]
            padded = len(lengths) * max(lengths)
            start = self._begin(taken, padded)
        results = self._compute([one.row for one in taken])
        seconds = self._clock() - start
        with self._changed:
            self._running = None
            self._rate.add(padded, seconds)
            done = self._deliver(taken, results, seconds)
        self._observe(EngineCall(len(taken), sum(lengths), padded, seconds))
        for request in done:
            request.on_done()
        return True

    def _own(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: len(self._ring) or self._closing)
                if not len(self._ring):
                    return
            self.step()

    def _begin(self, taken: Sequence[Taken], padded: int) -> float:
        start = self._clock()
        self._running = start, self._rate.call(padded)
        for request, _, _ in taken:
            request.in_engine += 1
            request.started = start if request.started is None else request.started
        return start

    def _compute(self, rows: Sequence[Row]) -> list[Vector | Row | Exception]:
        """Compute rows together; where that fails one by one, so that only the guilty row has an error."""
        try:
            return [_checked(result) for result in self._engine.compute(rows)]
        except Exception as error:  # whatever an engine raises is one request's, and must not end the thread of all
            return [error] if len(rows) == 1 else [result for row in rows for result in self._compute([row])]

    def _deliver(
        self, taken: Sequence[Taken], results: Sequence[Vector | Row | Exception], seconds: float
    ) -> list[Request]:
        """Give each request its results; returns those that are done now. Who has left gets none."""
        for request in {one.request for one in taken}:
            request.compute += seconds
        for (request, position, _), result in zip(taken, results, strict=True):
            request.in_engine -= 1
            if request.ended:
                continue
            if isinstance(result, Exception):
                request.errors[position] = result
                if not request.keep_errors:
                    self._ring.remove(request)
            elif isinstance(result, np.ndarray):
                request.vectors[position] = result
            elif request.keep_errors or not request.errors:
                self._ring.put_back(request, position, result)
        return [request for request in dict.fromkeys(one.request for one in taken) if request.settle()]

    def _give_up(self, request: Request) -> bool:
        """Take what a request has waiting from it; True if it is done now."""
        for position in request.waiting:
            request.errors[position] = BackendError("this model was closed before its turn came")
        self._ring.remove(request)
        return request.settle()


def _checked(result: Vector | Row) -> Vector | Row:
    if isinstance(result, np.ndarray) and not np.isfinite(result).all():
        raise BackendError("the engine gave a vector that is not finite; try another level or backend")
    return result
