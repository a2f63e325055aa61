"""A thread of its own for each model, since MLX's streams belong to threads."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version
from typing import Any, ClassVar, TypeVar

import mlx.core as mx

from edge_embed.backends.fork import settle
from edge_embed.errors import BackendError

MAX_FREE_BUFFERS = 256 << 20  # bytes that MLX may keep for the next batch; by itself it never gives one back
MANY = 2  # threads, at least: how many is not ours to choose
T = TypeVar("T")
_local = threading.local()


class _Streams:
    """Ends with its thread, and with it the thread's streams: MLX 0.32 aborts the process at exit if any is left."""

    def __del__(self) -> None:
        mx.clear_streams()


def _start() -> None:
    _local.streams = _Streams()


class OneThread:
    """Runs functions in a thread of its own, one after another; callable from any thread.

    A thread is used again after `close`: for each that ends, MLX 0.32 keeps one of its own for ever.
    """

    _idle: ClassVar[list[ThreadPoolExecutor]] = []

    def __init__(self) -> None:
        self._home, self._lock = settle("MLX", MANY), threading.Lock()
        try:
            self._pool: ThreadPoolExecutor | None = self._idle.pop()
        except IndexError:
            self._pool = ThreadPoolExecutor(1, "mlx", initializer=_start)

    def run(self, work: Callable[[], T]) -> T:
        """Run a function there and return what it returns; raise BackendError after `close`, and in a fork."""
        self._home.check()
        with self._lock:
            if self._pool is None:
                raise BackendError("this model was closed")
            future = self._pool.submit(work)
        return future.result()

    def close(self, last: Callable[[], object] = lambda: None) -> None:
        """Give the thread back once the functions that wait for it, and then `last`, have run; in a fork do nothing."""
        if self._home.left:
            return
        with self._lock:
            pool, self._pool = self._pool, None
        if pool is not None:
            pool.submit(last).result()
            self._idle.append(pool)


class ModelThread:
    """A model that only its own thread touches, from `open_model` to `close`: the base of MLX's backends."""

    engine = f"mlx {version('mlx')}"

    def __init__(self, open_model: Callable[[], Any]) -> None:
        self._thread = OneThread()
        try:
            self._thread.run(lambda: self._open(open_model))
        except BaseException:
            self._thread.close()
            raise

    def close(self) -> None:
        """Drop the model; calls that are running finish first."""
        self._thread.close(self._drop)

    def _open(self, open_model: Callable[[], Any]) -> None:
        self._model = open_model()

    def _drop(self) -> None:
        self._model = None
        mx.clear_cache()

    def _loaded(self) -> Any:
        """Return the model; raise BackendError once it was dropped."""
        if self._model is None:
            raise BackendError("this model was closed")
        return self._model


def free_buffers() -> None:
    """Give the buffers that MLX keeps for reuse back to the system, if they are more than MAX_FREE_BUFFERS."""
    if mx.get_cache_memory() > MAX_FREE_BUFFERS:
        mx.clear_cache()
