"""A request as the batcher sees it: rows that wait, what became of them, and who is to be told."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Vector = NDArray[np.float32]


class Row(Protocol):
    """What may wait: rows of one kind may be computed together, and `length` is what they are batched by."""

    @property
    def kind(self) -> str:
        """Names the budget that counts."""

    @property
    def length(self) -> int:
        """In the units of that budget: the tokens of a text."""


class Request:
    """Rows by position, in the order in which they are computed.

    `on_done` is called once, in the owner's thread, when `vectors` and `errors` have every position between them;
    without `keep_errors` the first error ends the request, and what it has waiting is dropped. The batcher's clock
    gives the times, in seconds: `submitted`, `started` with the first engine call, and `compute`, all calls together.
    """

    def __init__(
        self, rows: Mapping[int, Row], on_done: Callable[[], object] = lambda: None, keep_errors: bool = False
    ) -> None:
        self.waiting = OrderedDict(rows)  # a dict would walk over all that was taken from its front
        self.on_done, self.keep_errors = on_done, keep_errors
        self.vectors: dict[int, Vector] = {}
        self.errors: dict[int, Exception] = {}
        self.in_engine = 0
        self.submitted = self.compute = 0.0
        self.started: float | None = None
        self.ended = False

    def settle(self) -> bool:
        """End the request if nothing of it is left to do; True if that is now, so that `on_done` is to be called."""
        if self.ended or self.in_engine or (self.waiting and (self.keep_errors or not self.errors)):
            return False
        self.ended = True
        return True
