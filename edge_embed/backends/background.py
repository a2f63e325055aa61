"""An engine in the background: a thread of low priority, in which it is loaded and called, when there is room."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from edge_embed.device.background import Background
from edge_embed.device.priority import lower
from edge_embed.errors import BackendError
from edge_embed.spec.image import ImagePixels

from . import Batch, ImageBackend, Rows, TextBackend
from .fork import settle

T = TypeVar("T")


class CallersThread:
    """Loads and calls an engine in whichever thread asks."""

    def run(self, work: Callable[[], T]) -> T:
        """Call a function."""
        return work()

    def text(self, backend: TextBackend) -> TextBackend:
        """Return the backend."""
        return backend

    def images(self, backend: ImageBackend) -> ImageBackend:
        """Return the backend."""
        return backend

    def close(self) -> None:
        """Do nothing."""


class LowThread:
    """A thread that comes after others, and so do those that an engine starts in it."""

    def __init__(self, battery_below: int) -> None:
        self._home = settle("a model in the background", 2)
        self._background = Background(battery_below)
        self._pool = ThreadPoolExecutor(1, "background", initializer=lower)

    def run(self, work: Callable[[], T]) -> T:
        """Run a function there, at once; raise BackendError after `close`, and in a fork."""
        self._home.check()
        try:
            done = self._pool.submit(work)
        except RuntimeError as error:
            raise BackendError("this model was closed") from error
        return done.result()

    def run_with_room(self, work: Callable[[], T]) -> T:
        """Run a function there when there is room; it is the caller that waits, whom Ctrl-C reaches."""
        self._background.wait()
        return self.run(work)

    def text(self, backend: TextBackend) -> TextBackend:
        """Return a backend that is called in the thread."""
        return _Text(self, backend)

    def images(self, backend: ImageBackend) -> ImageBackend:
        """Return a backend that is called in the thread."""
        return _Images(self, backend)

    def close(self) -> None:
        """Let the thread end with the function that it runs, and nobody wait for room; in a fork there is none."""
        self._background.stop()
        if not self._home.left:
            self._pool.shutdown()


class _Text:
    def __init__(self, thread: LowThread, backend: TextBackend) -> None:
        self.engine, self._thread, self._backend = backend.engine, thread, backend

    def forward(self, batch: Batch) -> list[Rows]:
        return self._thread.run_with_room(lambda: self._backend.forward(batch))

    def close(self) -> None:
        self._thread.close()
        self._backend.close()


class _Images:
    def __init__(self, thread: LowThread, backend: ImageBackend) -> None:
        self.engine, self._thread, self._backend = backend.engine, thread, backend

    def forward(self, images: Sequence[ImagePixels]) -> list[Rows]:
        return self._thread.run_with_room(lambda: self._backend.forward(images))

    def close(self) -> None:
        self._thread.close()
        self._backend.close()
