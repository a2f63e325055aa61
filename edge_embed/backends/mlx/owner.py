"""The one thread that touches a model: MLX's streams belong to threads. And a backend that has its model there."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version
from typing import Any, TypeVar

import mlx.core as mx

from edge_embed.errors import BackendError

CACHE = 256 << 20  # bytes of freed buffers that MLX may keep for the next batch; by itself it never gives one back
T = TypeVar("T")
_local = threading.local()


class _Streams:
    """Ends with its thread, and with it the thread's streams: MLX 0.32 aborts the process at exit if any is left."""

    def __del__(self) -> None:
        mx.clear_streams()


def _start() -> None:
    _local.streams = _Streams()


class Owner:
    """Runs work in a thread of its own, one piece after another; callable from any thread."""

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(1, "mlx", initializer=_start)

    def run(self, work: Callable[[], T]) -> T:
        """Wait for the work and return what it returns; raise BackendError after `close`."""
        try:
            future = self._pool.submit(work)
        except RuntimeError as error:
            raise BackendError("this model was closed") from error
        return future.result()

    def close(self) -> None:
        """End the thread once what was asked for is done."""
        self._pool.shutdown()


class Held:
    """One model in a thread of its own, from `open_model` to `close`."""

    engine = f"mlx {version('mlx')}"

    def __init__(self, open_model: Callable[[], Any]) -> None:
        self._owner = Owner()
        try:
            self._owner.run(lambda: self._open(open_model))
        except BaseException:
            self._owner.close()
            raise

    def close(self) -> None:
        """Drop the model; calls that are running finish first."""
        if self._model is not None:
            self._owner.run(self._drop)
            self._owner.close()

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


def trim() -> None:
    """Give freed buffers back to the system where there are too many."""
    if mx.get_cache_memory() > CACHE:
        mx.clear_cache()
