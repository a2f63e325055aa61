"""Whether a request may wait, decided before it is tokenised: by how long that would be, and by what waits already."""

from __future__ import annotations

from .ask import Ask
from .engine import Engine
from .failures import overloaded, too_large
from .inputs import estimate_tokens
from .settings import Settings


def admit(ask: Ask, engine: Engine | None, longest: int, settings: Settings) -> None:
    """Raise Failure for a request that would wait longer than `max_wait`, or that the queue has no room for."""
    tokens = estimate_tokens(ask.inputs, longest)
    if tokens > settings.max_queue_tokens:
        raise too_large(
            f"about {tokens:,} tokens are more than this server lets wait at once, {settings.max_queue_tokens:,}: "
            "send fewer inputs at a time"
        )
    if engine is None:
        return
    wait = engine.predicted_wait()
    if wait > settings.max_wait:
        raise overloaded(
            f"an answer would take about {wait:.0f} s, more than the {settings.max_wait:g} s that this server lets "
            "anybody wait: come again then",
            wait,
        )
    if engine.queued().tokens + tokens > settings.max_queue_tokens:
        raise full(engine)


def full(engine: Engine | None) -> Exception:
    """Return the Failure for a queue that is full."""
    wait = engine.predicted_wait() if engine else 0.0
    return overloaded("as many tokens wait as this server lets wait: come again later", wait)
