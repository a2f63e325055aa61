"""Whose rows are computed next: requests stand in a ring, and each call of the engine belongs to the one at its head.

A call takes the batch that holds the first waiting row of the request at the head, planned together with rows of like
length of the others; then that request goes to the tail. So rows share calls with little padding, a large request
cannot hold up a small one, and no timer is needed. Pure bookkeeping: no thread, no clock, no engine.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from typing import NamedTuple

from edge_embed.pipeline.batches import make_batches

from .request import Request, Row

WINDOW = 512  # waiting rows that are planned together: 0.3 ms, for a call of 10 ms and more


class Taken(NamedTuple):
    """A row to compute, and whose it is."""

    request: Request
    position: int
    row: Row


class Ring:
    """Requests that have rows waiting, in the order of their turns.

    `budgets` bound a call of each kind: rows times the longest's length. `rows` and `lengths` count what waits.
    """

    def __init__(self, budgets: Mapping[str, int]) -> None:
        self._budgets = budgets
        self._requests: OrderedDict[Request, None] = OrderedDict()
        self.rows = self.lengths = 0

    def __len__(self) -> int:
        return len(self._requests)

    def __iter__(self) -> Iterator[Request]:
        return iter([*self._requests])

    def add(self, request: Request) -> None:
        """Let a request wait behind all others; one without rows has nothing to wait for."""
        if request.waiting:
            self._requests[request] = None
            self._count(request.waiting.values(), 1)

    def put_back(self, request: Request, position: int, row: Row) -> None:
        """Let a row wait once more, as its request's next: an image whose rows are now to be read among tokens."""
        request.waiting[position] = row
        request.waiting.move_to_end(position, last=False)
        self._requests.setdefault(request)
        self._count([row], 1)

    def remove(self, request: Request) -> int:
        """Forget what a request has waiting, since nobody wants it any more; returns how many rows that were."""
        dropped = len(request.waiting)
        self._count(request.waiting.values(), -1)
        request.waiting.clear()
        self._requests.pop(request, None)
        return dropped

    def take(self) -> list[Taken]:
        """Take the rows of the next call; empty if nothing waits. The head's request goes to the tail."""
        if not self._requests:
            return []
        head = next(iter(self._requests))
        kind = next(iter(head.waiting.values())).kind
        window = [*self._window(kind)]  # its first row is the head's next
        batches = make_batches([one.row.length for one in window], self._budgets[kind])
        taken = [window[n] for n in sorted(next(batch for batch in batches if 0 in batch))]
        self._requests.move_to_end(head)
        for request, position, _ in taken:
            del request.waiting[position]
            if not request.waiting:
                self._requests.pop(request, None)
        self._count((one.row for one in taken), -1)
        return taken

    def _window(self, kind: str) -> Iterator[Taken]:
        """Yield the rows of a kind that are planned together: an equal share of each request, in order."""
        requests = [*islice(self._requests, WINDOW)]
        share = equal_share([len(request.waiting) for request in requests], WINDOW)
        for request in requests:
            for position, row in islice(request.waiting.items(), share):
                if row.kind == kind:
                    yield Taken(request, position, row)

    def _count(self, rows: Iterable[Row], sign: int) -> None:
        for row in rows:
            self.rows += sign
            self.lengths += sign * row.length


def equal_share(counts: list[int], room: int) -> int:
    """Return how many rows each request may bring so that all together fill the room; at least one."""
    share = room
    for n, count in enumerate(sorted(counts)):
        share = room // (len(counts) - n)
        if count >= share:
            break
        room -= count
    return max(1, share)
