"""A process that was forked has a copy of an engine's memory and none of its threads: to wait for one is to hang."""

from __future__ import annotations

import os

from edge_embed.errors import BackendError


class Home:
    """The process that an engine's threads live in; None for an engine without threads, which is at home everywhere."""

    def __init__(self, engine: str, process: int | None) -> None:
        self._engine, self._process = engine, process

    @property
    def left(self) -> bool:
        """Whether this is another process, in which nothing of the engine may be called, not even to free it."""
        return self._process not in (None, os.getpid())

    def check(self) -> None:
        """Raise BackendError in a process that was forked from the engine's."""
        if self.left:
            raise BackendError(
                f"this process was forked from one that had {self._engine} running, whose threads were not copied: "
                'open models after the fork only, or start processes with multiprocessing.get_context("spawn")'
            )


_homes: dict[str, Home] = {}  # an engine's threads are its process's, whatever model they were started for


def settle(engine: str, threads: int) -> Home:
    """Return an engine's home, this process if it has none; raise BackendError if this was forked from it."""
    if threads == 1:
        return Home(engine, None)
    home = _homes.setdefault(engine, Home(engine, os.getpid()))
    home.check()
    return home
