"""Telling a task of an event loop, from any thread, that what it waits for is there."""

from __future__ import annotations

import asyncio


def wake(loop: asyncio.AbstractEventLoop, future: asyncio.Future[None]) -> bool:
    """Let who awaits the future go on; False where the loop was closed, so that nobody does."""
    try:
        loop.call_soon_threadsafe(_set, future)
    except RuntimeError:
        return False
    return True


def _set(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)
