"""Starts the service, and ends it: signals, systemd, uvicorn."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import uvicorn
from starlette.types import ASGIApp

from edge_embed.device.machine import this_device
from edge_embed.device.pages import limit_heaps
from edge_embed.errors import EdgeEmbedError

from . import logs, otel
from .app import build
from .ask import Failure
from .body import Bodies
from .connection import Connection
from .engine import Open, open_engine
from .gather import Paths, gather
from .handler import Service
from .health import Health
from .hosts import Hosts
from .indexes import Indexes, find_indexes
from .keys import Keys
from .metrics import Metrics
from .models import Model, Models, find_models
from .notify import notify, watchdog_interval
from .settings import Settings
from .sockets import is_public, listening, urls

logger = logging.getLogger("edge_embed.server")
TICK = 1.0  # seconds between looks at the date that answers carry


def serve(settings: Settings, ready: Callable[[Sequence[str]], None], open: Open = open_engine) -> None:
    """Serve until SIGTERM or SIGINT; `ready` is told where. Raises InputError, ModelError or SearchIndexError first.

    Ends the process by itself, with 0, where a model is being loaded when all else is done: nobody waits for that.
    """
    limit_heaps(max(2, this_device().threads))
    with logs.to_standard_error(settings.log_format):
        keys = Keys(settings.api_key_file)
        models = asyncio.run(find_models(settings))
        indexes = find_indexes(settings, models)
        with listening(settings) as sockets:
            if not keys and is_public(sockets):
                logger.warning("who can reach this machine can use this server, which asks for no key: --api-key-file")
            process = Process(settings, keys, models, open, gather(indexes), indexes)
            process.run(sockets, lambda: ready(urls(sockets)))
    if process.models.loading:  # what it writes, it writes so that a kill leaves nothing half-made
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(0)


class Process:
    """The service's parts, put together in the event loop that they live in."""

    def __init__(
        self,
        settings: Settings,
        keys: Keys,
        models: Sequence[Model],
        open: Open,
        paths: Paths,
        indexes: Indexes | None = None,
    ) -> None:
        self._settings, self._keys = settings, keys
        self.metrics = Metrics()
        self.models = Models(models, settings, self.metrics.observe, open)
        self.metrics.watch(self.models)
        self.indexes = indexes or Indexes()
        self.health = Health(self.models)
        self.health.starting = settings.preload
        self.bodies = Bodies(settings.max_body, settings.max_bodies)
        service = Service(
            models=self.models,
            settings=settings,
            keys=keys,
            hosts=Hosts(settings.allow_host),
            bodies=self.bodies,
            indexes=self.indexes,
            trace=otel.tracing(),
        )
        self.app: ASGIApp = build(service, self.health, self.metrics, paths, otel.middleware())
        self.failure: BaseException | None = None

    def run(self, sockets: list[socket.socket], ready: Callable[[], None] = lambda: None) -> None:
        """Serve on sockets until a signal; raises what preloading raised."""
        limits = self._settings

        class Limited(Connection):
            head_timeout, body_timeout = limits.head_timeout, limits.body_timeout
            send_timeout, max_connections = limits.send_timeout, limits.max_connections

        config = uvicorn.Config(
            self.app,
            loop="asyncio",
            http=Limited,
            ws="none",
            lifespan="on",
            log_config=None,
            access_log=False,
            proxy_headers=False,
            server_header=False,
            timeout_keep_alive=limits.keep_alive,
            timeout_graceful_shutdown=limits.drain_timeout,
        )
        self.server = Server(config, self, ready)
        self.server.run(sockets)
        if self.failure is not None:
            raise self.failure

    async def preload(self) -> None:
        """Load what is to be loaded first; the service ends where that cannot be done."""
        try:
            await self.models.preload()
        except Failure as failure:
            self.failure = failure.__cause__ or failure
            self.server.stop()
        except EdgeEmbedError as error:
            self.failure = error
            self.server.stop()
        else:
            self.health.starting = False

    @property
    def drain_delay(self) -> float:
        """How long requests are still taken after readiness has gone."""
        return self._settings.drain_delay

    @property
    def preloads(self) -> bool:
        """Whether models are loaded before anybody asks for them."""
        return self._settings.preload

    def reload_keys(self) -> None:
        """Read the keys again."""
        self._keys.reload()


class Server(uvicorn.Server):
    """uvicorn, which drains: readiness goes first, then the listeners, and running requests finish.

    It sleeps until something comes, where uvicorn's own loop looks ten times a second whether it is to end.
    """

    def __init__(self, config: uvicorn.Config, process: Process, ready: Callable[[], None]) -> None:
        super().__init__(config)
        self._process, self._ready = process, ready
        self._stop = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()

    def stop(self) -> None:
        """End without a delay; in the event loop."""
        self._stop.set()

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave signals to the event loop, which hears of them at once."""
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen, and begin to load."""
        self.loop = asyncio.get_running_loop()
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGTERM, signal.SIGINT):
                self.loop.add_signal_handler(number, self._signalled, number)
            self.loop.add_signal_handler(signal.SIGHUP, self._process.reload_keys)
        await super().startup(sockets)
        self._begin(self._tell_ready())

    async def main_loop(self) -> None:
        """Keep the date and systemd's watchdog, until it is time to end."""
        interval, told = watchdog_interval(), 0.0
        while not self._stop.is_set():
            await self.on_tick(0)
            if (
                interval is not None
                and time.monotonic() - told >= min(interval, TICK)
                and not self._process.health.hung
            ):
                notify("WATCHDOG=1")
                told = time.monotonic()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stop.wait(), min(TICK, interval or TICK))
        self.should_exit = True

    def _begin(self, work: Coroutine[Any, Any, None]) -> None:
        task = self.loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _tell_ready(self) -> None:
        if self._process.preloads:
            await self._process.preload()
        if self._process.failure is None:
            self._ready()
            notify("READY=1")

    def _signalled(self, number: int) -> None:
        """Begin to drain; the second signal ends the process as if it had not been handled."""
        if self._process.health.draining:
            self._leave_at_once(number)
        self._process.health.draining = True
        notify("STOPPING=1")
        self.loop.call_later(self._process.drain_delay, self.stop)

    def _leave_at_once(self, number: int) -> None:
        for listener in self.servers:
            for sock in listener.sockets:
                name = sock.getsockname()
                if isinstance(name, str) and name:
                    with contextlib.suppress(OSError):
                        os.unlink(name)
        sys.stderr.flush()
        os._exit(128 + number)
