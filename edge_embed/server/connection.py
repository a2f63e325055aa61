"""uvicorn's HTTP connection, with an end to whatever drips, never ends, or is never read.

uvicorn itself waits for a request's head and body for ever, holds a head of any size, and holds an answer for a client
that does not read.
"""

from __future__ import annotations

import asyncio
from typing import Any, ClassVar, cast

import orjson
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from .joined import Joined

MAX_HEAD = 64 << 10  # bytes of a request's line and headers, and of whatever else brings it no further
BODY_RATE = 100 << 10  # bytes a second that a long body must come with


class Connection(HttpToolsProtocol):
    """One client; a service has a class of its own with other limits."""

    head_timeout: ClassVar[float] = 10.0
    body_timeout: ClassVar[float] = 30.0
    send_timeout: ClassVar[float] = 30.0
    max_connections: ClassVar[int] = 1000

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._timer: asyncio.TimerHandle | None = None
        self._stalled = 0  # bytes since the request came any further
        self._moved = False
        self._unsent_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Give the first head its time; refuse one connection too many."""
        self._joined = Joined(transport)
        super().connection_made(cast(asyncio.Transport, self._joined))
        if len(self.connections) > self.max_connections:
            self._refuse(503, "as many clients are connected as this server takes: come again")
        else:
            self._expect(self.head_timeout)

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the timers."""
        self._expect(None)
        if self._unsent_timer is not None:
            self._unsent_timer.cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Parse what came, and end what brings a request no further."""
        self._moved = False
        super().data_received(data)
        self._stalled = 0 if self._moved else self._stalled + len(data)
        if self.transport.is_closing():
            return
        if self._stalled > MAX_HEAD:
            self._refuse(431, f"more than {MAX_HEAD:,} bytes of headers")
        elif self._timer is None and (self.cycle is None or self.cycle.response_complete):
            self._expect(self.head_timeout)  # something came, and no request

    def on_headers_complete(self) -> None:
        """Give the body its time, unless the request waits behind another."""
        self._moved = True
        before = self.cycle
        super().on_headers_complete()
        busy = before is not None and not before.response_complete
        self._expect(None if busy else self._time_for_body())

    def on_body(self, body: bytes) -> None:
        """Note that the request came further."""
        self._moved = True
        super().on_body(body)

    def on_message_complete(self) -> None:
        """Take the request's time off: it is whole."""
        self._moved = True
        self._expect(None)
        super().on_message_complete()

    def on_response_complete(self) -> None:
        """Go on with the next request of those that came together, whose body has its time from now on."""
        self._joined.flush()
        super().on_response_complete()
        if self._unsent_timer is None and (unsent := self.transport.get_write_buffer_size()):
            self._unsent_timer = self.loop.call_later(self.send_timeout, self._look_whether_read, unsent)
        if self.cycle is not None and not self.cycle.response_complete and self.cycle.more_body:
            self._expect(self._time_for_body())

    def send_400_response(self, msg: str) -> None:
        """Answer what is no HTTP."""
        self._refuse(400, "this is no valid HTTP request")

    def _look_whether_read(self, before: int) -> None:
        """Cut off a client that reads nothing of its answer, which is held for it."""
        self._unsent_timer = None
        unsent = self.transport.get_write_buffer_size()
        if unsent >= before:
            self.transport.abort()
        elif unsent:
            self._unsent_timer = self.loop.call_later(self.send_timeout, self._look_whether_read, unsent)

    def _time_for_body(self) -> float:
        stated = next((value for name, value in self.headers if name == b"content-length"), b"0")
        return self.body_timeout + (int(stated) / BODY_RATE if stated.isdigit() else 0.0)

    def _expect(self, seconds: float | None) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = None if seconds is None else self.loop.call_later(seconds, self._expired)

    def _expired(self) -> None:
        self._timer = None
        if not self.transport.is_closing():
            self._refuse(408, "the request did not come in time")

    def _refuse(self, status: int, message: str) -> None:
        """Answer outside of any API, unless an answer is under way, and close."""
        self._expect(None)
        if self.cycle is None or self.cycle.response_complete or not self.cycle.response_started:
            data = orjson.dumps({"error": {"message": message, "type": "invalid_request_error", "code": str(status)}})
            head = b"content-type: application/json\r\nconnection: close\r\ncontent-length: %d\r\n\r\n" % len(data)
            self.transport.write(STATUS_LINE[status] + head + data)
        self.transport.close()
