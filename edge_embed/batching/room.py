"""How much may wait at once: whoever comes when it is full waits, in order, or is sent away."""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from .wake import wake


class QueueFullError(Exception):
    """Tell that no more may wait now; in a service, the caller should come again later."""


class Room:
    """Up to `limit` units for all callers of all event loops together; one that asks for more has it to itself.

    >>> asyncio.run(Room(10).acquire(3))
    """

    def __init__(self, limit: int) -> None:
        self._limit, self._used = limit, 0
        self._lock = threading.Lock()
        self._waiting: deque[tuple[int, asyncio.AbstractEventLoop, asyncio.Future[None]]] = deque()

    @asynccontextmanager
    async def taken(self, units: int, block: bool = True) -> AsyncIterator[None]:
        """Hold units while the body runs; raises as `acquire` does."""
        await self.acquire(units, block)
        try:
            yield
        finally:
            self.release(units)

    async def acquire(self, units: int, block: bool = True) -> None:
        """Take units; where they do not fit, wait, or raise QueueFullError if not to `block`."""
        with self._lock:
            if not self._waiting and self._fits(units):
                self._used += units
                return
            if not block:
                raise QueueFullError(f"{self._used:,} of {self._limit:,} units are waiting, {units:,} more do not fit")
            loop = asyncio.get_running_loop()
            future = loop.create_future()
            self._waiting.append((units, loop, future))
        try:
            await future
        except asyncio.CancelledError:
            self._leave(units, future)
            raise

    def release(self, units: int) -> None:
        """Give units back, and let in who waited first."""
        with self._lock:
            self._used -= units
            self._let_in()

    def _fits(self, units: int) -> bool:
        return not self._used or self._used + units <= self._limit

    def _let_in(self) -> None:
        while self._waiting and self._fits(self._waiting[0][0]):
            units, loop, future = self._waiting.popleft()
            if wake(loop, future):
                self._used += units

    def _leave(self, units: int, future: asyncio.Future[None]) -> None:
        """Take back a wait: it may have been granted already, and nobody was there to hear it."""
        with self._lock:
            for entry in self._waiting:
                if entry[2] is future:
                    self._waiting.remove(entry)
                    break
            else:
                self._used -= units
            self._let_in()
