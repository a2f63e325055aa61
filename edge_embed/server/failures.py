"""Whatever goes wrong -> a Failure, which tells a caller nothing of this machine, and a log line that tells no text."""

from __future__ import annotations

import logging
import math
import traceback
from dataclasses import replace

from edge_embed.errors import InputError, MissingDependencyError, OutOfMemoryError, VerificationError

from .ask import Failure

logger = logging.getLogger("edge_embed.server")
SHORTEST = 1.0  # seconds that a client is asked to wait at least


def overloaded(message: str, wait: float) -> Failure:
    """Ask to come again in `wait` seconds."""
    return Failure(status=429, reason="overloaded", message=message, retry_after=max(SHORTEST, wait))


def too_large(message: str) -> Failure:
    """Refuse for a body's size."""
    return Failure(status=413, reason="too_large", message=message)


def unavailable(message: str, wait: float | None = None) -> Failure:
    """Tell that the service cannot do this now."""
    return Failure(status=503, reason="unavailable", message=message, retry_after=wait)


def as_failure(error: BaseException) -> Failure:
    """Turn what was raised while a request was answered into what its caller reads.

    A Failure is copied: whoever keeps the one that was raised keeps its traceback, which keeps him, and the request.
    """
    if isinstance(error, Failure):
        return replace(error)
    if isinstance(error, InputError):
        return Failure(status=400, reason="bad_request", message=str(error))
    logger.error("a request failed: %s", where(error))
    if isinstance(error, MissingDependencyError):
        return unavailable("the server lacks a package that this request needs; its log says which")
    if isinstance(error, OutOfMemoryError | MemoryError):
        return unavailable("the server has no memory for this request now: send fewer or shorter inputs", 1.0)
    return Failure(status=500, reason="internal", message="the engine failed; the server's log tells more")


def where(error: BaseException) -> str:
    """Name an error's kind and the lines that led to it, not its message, which may hold what a caller sent.

    A missing package and failed levels are named, since they are the machine's and not the caller's.
    """
    frames = traceback.extract_tb(error.__traceback__)[-4:]
    path = " < ".join(f"{frame.filename.rpartition('/')[2]}:{frame.lineno}" for frame in reversed(frames))
    told = f": {error}" if isinstance(error, MissingDependencyError | VerificationError) else ""
    cause = f", since {where(error.__cause__)}" if error.__cause__ is not None else ""
    return f"{type(error).__name__}{told} at {path or 'an unknown line'}{cause}"


def retry_headers(failure: Failure) -> list[tuple[str, str]]:
    """Return the headers that say when to come again, for those who read seconds and those who read milliseconds."""
    if failure.retry_after is None:
        return []
    return [
        ("retry-after", str(math.ceil(failure.retry_after))),
        ("retry-after-ms", str(math.ceil(failure.retry_after * 1000))),
    ]
