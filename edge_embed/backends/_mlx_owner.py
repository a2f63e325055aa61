"""The one thread that touches a model: MLX's streams belong to threads."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import mlx.core as mx

from ..errors import BackendError

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
