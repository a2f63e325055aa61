"""A request's body, read within its limit; no more is held of all requests together than there is room for.

What waits for an engine is bounded by its queue; this bounds what comes before, such as requests for a model that is
being loaded.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager

from starlette.types import Receive

from edge_embed.device.pages import trim_heap

from .ask import Failure
from .failures import overloaded, too_large

LARGE = 1 << 20  # bytes of a body after which there is something to give back to the system
SOON = 1.0  # seconds: once for many


class GoneError(Exception):
    """The client hung up: nobody waits for an answer."""


class Bodies:
    """Lets bodies in while they are no larger than `limit` bytes each, and `together` all that are held at a time."""

    def __init__(self, limit: int, together: int) -> None:
        self._limit, self._together = limit, together
        self.held = 0
        self._trimming: asyncio.TimerHandle | None = None

    @asynccontextmanager
    async def read(self, headers: Iterable[tuple[bytes, bytes]], receive: Receive) -> AsyncIterator[bytes]:
        """Hold a body; raises Failure where it is too large, by its length or as it passes, GoneError where it ends."""
        stated = next((value for name, value in headers if name == b"content-length"), b"0")
        if stated.isdigit() and int(stated) > self._limit:
            raise self._too_large()
        held, parts = 0, []
        try:
            more = True
            while more:
                message = await receive()
                if message["type"] != "http.request":
                    raise GoneError
                part, more = message.get("body", b""), message.get("more_body", False)
                if held + len(part) > self._limit:
                    raise self._too_large()
                if self.held + len(part) > self._together:
                    raise overloaded("the server holds as many bytes of requests as it may: come again", 1.0)
                held, self.held = held + len(part), self.held + len(part)
                parts.append(part)
            yield parts[0] if len(parts) == 1 else b"".join(parts)
        finally:
            self.held -= held
            if held > LARGE and self._trimming is None:
                self._trimming = asyncio.get_running_loop().call_later(SOON, self._trim)

    def _trim(self) -> None:
        self._trimming = None
        asyncio.get_running_loop().run_in_executor(None, trim_heap)

    def _too_large(self) -> Failure:
        return too_large(f"the body is larger than {self._limit:,} bytes: send fewer or shorter inputs at a time")
