"""How many pixels all threads together hold decoded: a file of a few kilobytes can unfold to hundreds of megabytes."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager


class PixelBudget:
    """Lets images in while they have no more than `limit` pixels together; one larger than that has it to itself.

    >>> budget = PixelBudget(1_000_000)
    >>> with budget.room(800_000):
    ...     pass
    """

    def __init__(self, limit: int) -> None:
        self._limit, self._used = limit, 0
        self._changed = threading.Condition()

    @contextmanager
    def room(self, pixels: int) -> Iterator[None]:
        """Wait until so many pixels fit, and hold them while the body runs."""
        with self._changed:
            self._changed.wait_for(lambda: not self._used or self._used + pixels <= self._limit)
            self._used += pixels
        try:
            yield
        finally:
            with self._changed:
                self._used -= pixels
                self._changed.notify_all()
