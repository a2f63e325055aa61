"""One model's time in memory: loaded once for all who wait for it, held while it is used, gone when others need it."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from edge_embed.device.pages import trim_heap
from edge_embed.errors import EdgeEmbedError
from edge_embed.spec.model import ModelSpec

from .engine import Engine
from .failures import unavailable
from .loads import Loads

logger = logging.getLogger("edge_embed.server")


class Memory:
    """Who is in memory, least recently used first to leave; one model is loaded at a time.

    `limit` are bytes, as planned; `idle` the seconds after which a model leaves that nobody uses. None: no bound.
    """

    def __init__(self, limit: int | None, idle: float | None) -> None:
        self._limit, self.idle = limit, idle
        self.turn = asyncio.Lock()
        self.loads = Loads()
        self.present: list[Residence] = []

    async def make_room(self, size: int) -> None:
        """Let those leave that were not used for longest, when their requests are done, until so many bytes fit."""
        if self._limit is None:
            return
        for other in sorted(self.present, key=lambda one: one.last_used):
            if sum(one.size for one in self.present) + size <= self._limit:
                return
            await other.leave()


class Residence:
    """A model from the first request that needs it to the last that it answers.

    Whoever uses it is counted from the moment it asks, so that none is sent away between loading and use. `left` is
    told when it takes no more users, with the number of texts that were abandoned.
    """

    def __init__(
        self,
        name: str,
        load: Callable[[], Engine],
        size: int,
        memory: Memory,
        left: Callable[[Residence, int], None],
    ) -> None:
        self.name, self.size = name, size
        self.engine: Engine | None = None
        self.spec: ModelSpec | None = None
        self.level: str | None = None
        self.backend = ""
        self.last_used = time.monotonic()
        self._load, self._memory, self._left = load, memory, left
        self._users = 0
        self._free = asyncio.Event()
        self._free.set()
        self._leaving: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._opening = asyncio.create_task(self._open(), name=f"load {name}")
        self._opening.add_done_callback(_seen)

    @property
    def expires(self) -> float | None:
        """When it will leave if nobody uses it, by the monotonic clock."""
        idle = self._memory.idle
        return None if idle is None else (time.monotonic() if self._users else self.last_used) + idle

    @asynccontextmanager
    async def used(self) -> AsyncIterator[Engine]:
        """Hold the engine, once it is loaded; raises what loading it raised, as Failure."""
        self._users += 1
        self._free.clear()
        try:
            if self.engine is None:
                await asyncio.shield(self._opening)
            yield self.engine or self._opening.result()
        finally:
            self._users -= 1
            self.last_used = time.monotonic()
            if not self._users:
                self._free.set()
                self._watch_idle()

    async def leave(self) -> None:
        """Take no more users, and close the engine when the last is done."""
        await asyncio.shield(self._leaving or self._begin_to_leave())

    def _begin_to_leave(self) -> asyncio.Task[None]:
        self._left(self, 0)
        self._leaving = asyncio.create_task(self._close(), name=f"unload {self.name}")
        return self._leaving

    async def _open(self) -> Engine:
        try:
            async with self._memory.turn:
                await self._memory.make_room(self.size)
                self._memory.present.append(self)
                began = time.monotonic()
                engine = await self._memory.loads.load(self.name, self._load)
        except BaseException as error:
            self._gone()
            if not isinstance(error, EdgeEmbedError | MemoryError | OSError):
                raise
            logger.error("%s cannot be loaded: %s", self.name, error)  # no caller's text is in that
            raise unavailable(f"the model {self.name} cannot be loaded; the server's log says why") from error
        self.spec = engine.embedder.spec
        self.level = engine.embedder.level
        self.backend = engine.embedder.backend
        self.engine = engine
        logger.info("%s is loaded: %s, %.1f s", self.name, self.level, time.monotonic() - began)
        self._watch_idle()
        return engine

    async def _close(self) -> None:
        await self._free.wait()
        if self._timer:
            self._timer.cancel()
        engine = self.engine
        try:
            if engine is not None:
                await engine.aclose()
                await asyncio.to_thread(trim_heap)
                logger.info("%s is unloaded", self.name)
        finally:
            self.engine = None
            self._gone(engine.abandoned if engine else 0)

    def _gone(self, abandoned: int = 0) -> None:
        if self in self._memory.present:
            self._memory.present.remove(self)
        self._left(self, abandoned)

    def _watch_idle(self) -> None:
        """Have one timer at a time: a busy model moves its end without touching the timer."""
        if self._memory.idle is not None and self._timer is None and self._leaving is None:
            self._timer = asyncio.get_running_loop().call_later(self._memory.idle, self._look, self._memory.idle)

    def _look(self, idle: float) -> None:
        self._timer = None
        if self._users or self._leaving is not None:
            return  # whoever uses it last starts the timer anew
        left = self.last_used + idle - time.monotonic()
        if left > 0:
            self._timer = asyncio.get_running_loop().call_later(left, self._look, idle)
        else:
            self._begin_to_leave()


def _seen(task: asyncio.Task[Engine]) -> None:
    """Read the error of a load that nobody waited for to its end, which asyncio would complain of."""
    if not task.cancelled():
        task.exception()
