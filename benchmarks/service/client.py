"""A client that costs little: raw HTTP/1.1 over kept connections, so that the server has the processor to itself."""

from __future__ import annotations

import asyncio
import json
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

Check = Callable[[int, bytes], bool]  # of a request's number and its answer: is it the right one?


@dataclass
class Outcome:
    """What a run of requests came to: seconds of each that was answered, and how many had which status."""

    seconds: list[float] = field(default_factory=list)
    statuses: Counter[int] = field(default_factory=Counter)
    wrong: int = 0
    wall: float = 0.0

    def quantile(self, share: float) -> float:
        """Return the time within which that share of the answers came."""
        ordered = sorted(self.seconds)
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else 0.0


class Connection:
    """One kept connection; a request at a time."""

    def __init__(self, host: str, port: int) -> None:
        self._host, self._port = host, port
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None

    async def post(self, path: str, body: bytes) -> tuple[int, bytes]:
        """Send a request and read the answer -> its status and its body."""
        if self._writer is None:
            self._reader, self._writer = await asyncio.open_connection(self._host, self._port, limit=1 << 26)
        assert self._reader is not None
        head = f"POST {path} HTTP/1.1\r\nHost: {self._host}\r\nContent-Type: application/json\r\n"
        self._writer.write(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
        answer = (await self._reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        status, length, kept = int(answer.split(" ", 2)[1]), 0, True
        for line in answer.split("\r\n")[1:]:
            name, _, value = line.partition(":")
            if name.lower() == "content-length":
                length = int(value)
            if name.lower() == "connection" and value.strip().lower() == "close":
                kept = False
        data = await self._reader.readexactly(length)
        if not kept:
            self.close()
        return status, data

    def close(self) -> None:
        """Hang up."""
        if self._writer is not None:
            self._writer.close()
        self._reader = self._writer = None


def request_body(model: str, texts: Sequence[str] | str, encoding: str = "float") -> bytes:
    """Write a request as OpenAI's API has it."""
    return json.dumps({"model": model, "input": texts, "encoding_format": encoding}).encode()


async def drive(
    port: int, path: str, bodies: Sequence[bytes], connections: int, check: Check = lambda number, body: True
) -> Outcome:
    """Send all bodies over so many connections, each its next as soon as it has an answer."""
    outcome, numbers = Outcome(), iter(range(len(bodies)))

    async def caller(numbers: Iterator[int]) -> None:
        connection = Connection("127.0.0.1", port)
        for number in numbers:
            start = time.perf_counter()
            status, body = await connection.post(path, bodies[number])
            outcome.statuses[status] += 1
            if status == 200:
                outcome.seconds.append(time.perf_counter() - start)
                outcome.wrong += not check(number, body)
        connection.close()

    start = time.perf_counter()
    await asyncio.gather(*[caller(numbers) for _ in range(connections)])
    outcome.wall = time.perf_counter() - start
    return outcome
