"""One request and its answer, as logs and metrics know them: never a text, a query or a path that was made up."""

from __future__ import annotations

import random
import re
import time
from dataclasses import dataclass, field

from starlette.types import Scope

from edge_embed.batching.computed import Computed

SANE = re.compile(rb"[\w.:/+=@-]{1,128}", re.ASCII)
KEY = "edge_embed.exchange"  # in an ASGI scope


@dataclass(eq=False)
class Exchange:
    """What is known so far; `route` is the path's pattern, `model` a name of ours, both empty for unknown ones."""

    request_id: str
    method: str
    began: float = field(default_factory=time.perf_counter)
    route: str = ""
    model: str = ""
    status: int = 0
    texts: int = 0
    reason: str = ""
    computed: Computed | None = None

    @property
    def seconds(self) -> float:
        """How long it has taken."""
        return time.perf_counter() - self.began


def begin(scope: Scope) -> Exchange:
    """Begin a request; an id that its client gave is kept where it could stand in a log."""
    given = next((value for name, value in scope["headers"] if name == b"x-request-id"), b"")
    request_id = given.decode("ascii") if SANE.fullmatch(given) else f"{random.getrandbits(128):032x}"
    exchange = Exchange(request_id, scope["method"])
    scope[KEY] = exchange
    return exchange


def of(scope: Scope) -> Exchange:
    """Return the exchange of a request."""
    exchange: Exchange = scope[KEY]
    return exchange
