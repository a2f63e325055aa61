"""Whether a request may wait, decided before it is tokenised: by how long that would be.

How much may wait is the queue's own bound, which counts a request before it is tokenised too.
"""

from __future__ import annotations

from .ask import Failure
from .engine import Engine
from .failures import overloaded
from .settings import Settings


def admit(engine: Engine | None, settings: Settings) -> None:
    """Raise Failure where what came now would wait longer than `max_wait`."""
    wait = engine.predicted_wait() if engine else 0.0
    if wait > settings.max_wait:
        raise overloaded(
            f"an answer would take about {wait:.0f} s, more than the {settings.max_wait:g} s that this server lets "
            "anybody wait: come again then",
            wait,
        )


def full(engine: Engine | None) -> Failure:
    """Return the Failure for a queue that is full."""
    wait = engine.predicted_wait() if engine else 0.0
    return overloaded("as many tokens wait as this server lets wait: come again later", wait)
