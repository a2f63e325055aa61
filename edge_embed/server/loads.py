"""Models are loaded in threads that nobody waits for at the end: a load may be a conversion, which takes minutes."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import threading
from collections.abc import Callable

from .engine import Engine


class Loads:
    """The loads that are running, in threads of their own, where asyncio would join its own before it ends."""

    def __init__(self) -> None:
        self._threads: set[threading.Thread] = set()

    @property
    def running(self) -> bool:
        """Whether a model is being loaded, for whom it may be."""
        return any(thread.is_alive() for thread in self._threads)

    async def load(self, name: str, load: Callable[[], Engine]) -> Engine:
        """Load in a thread; raises what loading raised. Cancelled, the thread goes on, and what it made is dropped."""
        loop = asyncio.get_running_loop()
        loaded: asyncio.Future[Engine] = loop.create_future()

        def settle(engine: Engine | None, error: BaseException | None) -> None:
            if loaded.cancelled():
                return
            if engine is not None:
                loaded.set_result(engine)
            elif error is not None:
                loaded.set_exception(error)

        def run() -> None:
            engine = error = None
            try:
                engine = load()
            except BaseException as caught:
                error = caught
            finally:
                with contextlib.suppress(RuntimeError):  # the loop has ended meanwhile
                    loop.call_soon_threadsafe(settle, engine, error)

        context = contextvars.copy_context()
        thread = threading.Thread(target=context.run, args=(run,), name=f"load {name}", daemon=True)
        self._threads = {one for one in self._threads if one.is_alive()} | {thread}
        thread.start()
        return await loaded
