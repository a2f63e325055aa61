"""The ASGI application: the shapes' paths, and those of the service itself."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from typing import Any

import orjson
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from . import exchange as exchanges
from . import logs
from .ask import Failure
from .failures import as_failure
from .gather import Paths
from .handler import EndpointHandler, ListingHandler, Service, fail, respond
from .health import Health
from .metrics import CONTENT_TYPE, Metrics

EXPOSED = (
    "edge-embed-fingerprint",
    "edge-embed-ignored",
    "edge-embed-truncated",
    "retry-after",
    "server-timing",
    "x-request-id",
)  # headers that a page of another origin may read
Fail = Callable[[Failure], bytes]
Told = Callable[[], tuple[int, bytes, str]]  # status, body, type


def build(
    service: Service,
    health: Health,
    metrics: Metrics,
    paths: Paths,
    middleware: Sequence[Middleware] = (),
) -> ASGIApp:
    """Put the application together."""
    own: list[tuple[str, Sequence[str], ASGIApp, Fail]] = [
        ("/livez", ("GET",), _Tells("/livez", lambda: (*health.live(), "application/json")), plain),
        ("/readyz", ("GET",), _Tells("/readyz", lambda: (*health.ready(), "application/json")), plain),
        ("/health", ("GET",), _Tells("/health", lambda: (*health.ready(), "application/json")), plain),
        ("/metrics", ("GET",), _Tells("/metrics", lambda: (200, metrics.exposition(), CONTENT_TYPE), service), plain),
    ]
    own += [(one.path, ("POST",), EndpointHandler(one, service), one.fail) for one in paths.endpoints]
    own += [(one.path, one.methods, ListingHandler(one, service), one.fail) for one in paths.listings]
    routes = [*paths.open, *(Route(path, app, methods=list(methods)) for path, methods, app, _ in own)]
    routes += _wrong_methods(own)
    if service.settings.cors:
        origins = list(service.settings.cors)
        options: dict[str, Any] = {"allow_methods": ["*"], "allow_headers": ["*"], "expose_headers": EXPOSED}
        middleware = [Middleware(CORSMiddleware, allow_origins=origins, **options), *middleware]

    @contextlib.asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        yield
        await service.models.aclose()
        await asyncio.to_thread(service.indexes.close)

    inner = Starlette(
        routes=routes, middleware=list(middleware), lifespan=lifespan, exception_handlers={HTTPException: _refused}
    )
    inner.router.default = _Nowhere("", 404, plain)
    inner.router.redirect_slashes = False
    return Front(inner, metrics)


def plain(failure: Failure) -> bytes:
    """Write a failure where no API is asked for."""
    error = {"message": failure.message, "type": failure.reason, "code": str(failure.status)}
    return orjson.dumps({"error": error})


class Front:
    """Begins and ends every request: an id, one line in the log, one count; nothing that is raised goes further."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app, self._metrics = app, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request, or what else uvicorn asks."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        exchange = exchanges.begin(scope)

        async def note(message: Message) -> None:
            if message["type"] == "http.response.start" and not exchange.status:  # not by `respond`
                exchange.status = message["status"]
                named = (b"x-request-id", exchange.request_id.encode("ascii"))
                message = {**message, "headers": [*message.get("headers", ()), named]}
            await send(message)

        try:
            await self._app(scope, receive, note)
        except Exception as error:  # a defect of ours outside of what handlers catch
            failure = as_failure(error)
            if not exchange.status:
                await fail(failure, plain, exchange, send)
        finally:
            exchange.route = exchange.route or getattr(scope.get("route"), "path", "")
            self._metrics.answered(exchange)
            logs.request(exchange)


def _refused(request: Request, error: Exception) -> Response:
    """Write what Starlette refuses by itself, such as a method that the page does not take."""
    status, headers = (error.status_code, error.headers) if isinstance(error, HTTPException) else (500, None)
    failure = Failure(status=status, reason="no_route", message="this path does not take that method")
    return Response(plain(failure), status, headers, "application/json")


class _Tells:
    """Serves what the service says of itself; with a `service` to those alone who have a key."""

    def __init__(self, path: str, tell: Told, service: Service | None = None) -> None:
        self._path, self._tell, self._service = path, tell, service

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        exchange = exchanges.of(scope)
        exchange.route = self._path
        try:
            if self._service is not None:
                self._service.let_in(scope["headers"])
            status, data, kind = self._tell()
        except Failure as failure:
            await fail(failure, plain, exchange, send)
            return
        await respond(send, exchange, status, data, kind=kind)


class _Nowhere:
    """Answers for a path that is none, or one that is asked in the wrong way."""

    def __init__(self, path: str, status: int, write: Fail, allowed: Iterable[str] = ()) -> None:
        self._path, self._status, self._write, self._allowed = path, status, write, sorted(allowed)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":  # a websocket: uvicorn was told that there are none
            return
        exchange = exchanges.of(scope)
        exchange.route, exchange.reason = self._path, "no_route"
        what = f"{self._path} takes {', '.join(self._allowed)}" if self._allowed else "there is no such path here"
        failure = Failure(status=self._status, reason="no_route", message=what, request_id=exchange.request_id)
        headers = [("allow", ", ".join(self._allowed))] if self._allowed else []
        await respond(send, exchange, self._status, self._write(failure), headers)


def _wrong_methods(own: Sequence[tuple[str, Sequence[str], ASGIApp, Fail]]) -> list[BaseRoute]:
    """Make a route of every path for all methods that it does not take, which come last."""
    allowed: dict[str, list[str]] = {}
    writers: dict[str, Fail] = {}
    for path, methods, _, write in own:
        allowed.setdefault(path, []).extend(methods)
        writers.setdefault(path, write)
    return [Route(path, _Nowhere(path, 405, writers[path], set(names))) for path, names in allowed.items()]
