"""An answer's head and its body in one write: uvicorn makes two, which are a system call and a packet each."""

from __future__ import annotations

import asyncio
from typing import Any

LARGE = 64 << 10  # bytes of a body that is not copied to stand behind its head
START, CONTINUE, END = b"HTTP/1.1 ", b"HTTP/1.1 100", b"\r\n\r\n"


class Joined:
    """A transport that keeps an answer's head until its body is written, or it is flushed; else the one inside."""

    def __init__(self, transport: asyncio.Transport) -> None:
        self._inner, self._head = transport, b""

    def write(self, data: bytes) -> None:
        """Write, or keep what is an answer's head."""
        if self._head:
            head, self._head = self._head, b""
            if len(data) <= LARGE:
                self._inner.write(head + data)
                return
            self._inner.write(head)
        elif data.startswith(START) and data.endswith(END) and not data.startswith(CONTINUE):
            self._head = data
            return
        self._inner.write(data)

    def flush(self) -> None:
        """Write a head that has no body."""
        if self._head:
            self.write(b"")

    def close(self) -> None:
        """Write what is kept, and close."""
        self.flush()
        self._inner.close()

    def __getattr__(self, name: str) -> Any:
        """Leave all else to the transport inside."""
        return getattr(self._inner, name)
