"""An Endpoint or a Listing of a shape -> an ASGI application: body, key, admission, engine, answer and headers."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol, TypeVar

from starlette.datastructures import QueryParams
from starlette.types import Receive, Scope, Send

from edge_embed.batching.computed import Computed
from edge_embed.batching.room import QueueFullError

from . import exchange as exchanges
from .admission import admit, full
from .ask import Answer, Call, Endpoint, Failure, Listing
from .body import Bodies, GoneError
from .exchange import Exchange
from .failures import as_failure, retry_headers
from .hosts import Hosts
from .indexes import Indexes
from .inputs import check_inputs
from .keys import Headers, Keys
from .models import Models, Served
from .settings import Settings

LONG_BODY = 16 << 10  # bytes: parsing more takes longer than the event loop should be held
MANY_VECTORS = 64  # so does writing more
JSON = "application/json"
Pairs = Sequence[tuple[str, str]]
Result = TypeVar("Result")


class Tracing(Protocol):
    """Is told of an answer, to note it in a span."""

    def __call__(self, call: Call, answer: Answer) -> None:
        """Note it."""


@dataclass(frozen=True, kw_only=True)
class Service:
    """What handlers share."""

    models: Models
    settings: Settings
    keys: Keys
    hosts: Hosts
    bodies: Bodies
    indexes: Indexes = field(default_factory=Indexes)
    trace: Tracing | None = None

    def let_in(self, headers: Headers) -> None:
        """Raise Failure for who has no key; where none is asked for, for who asks under another site's name."""
        if self.keys:
            self.keys.check(headers)
        else:
            self.hosts.check(headers)


class EndpointHandler:
    """Serves the path of an API that gives vectors."""

    def __init__(self, endpoint: Endpoint, service: Service) -> None:
        self._endpoint, self._service = endpoint, service

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, in the API's own shape whatever happens."""
        exchange = exchanges.of(scope)
        exchange.route = self._endpoint.path
        api = ""
        try:
            self._service.let_in(scope["headers"])
            async with self._service.bodies.read(scope["headers"], receive) as body:
                call = await _aside(len(body) > LONG_BODY, self._endpoint.read, body, scope["path_params"])
                api = call.api
                answer = await self._answer(call, exchange, receive)  # its inputs are held as long, so the body counts
            data = await _written(call, answer)
        except GoneError:
            exchange.reason = "gone"
            return
        except Exception as error:  # whatever it is, the caller gets an answer that tells nothing of this machine
            failure = as_failure(error)
            await fail(replace(failure, api=failure.api or api), self._endpoint.fail, exchange, send)
            return
        await respond(send, exchange, 200, data, _headers_of(call, answer))

    async def _answer(self, call: Call, exchange: Exchange, receive: Receive) -> Answer:
        models, settings, ask = self._service.models, self._service.settings, call.ask
        served = models.find(ask)
        exchange.model, exchange.texts = served.model.name, len(ask.inputs)
        check_inputs(ask.inputs, settings.images, settings.token_ids)
        engine = models.engine_now(served)
        admit(engine, settings)
        try:
            computed = await _while_connected(models, served, call, receive)
        except QueueFullError as error:
            raise full(models.engine_now(served)) from error
        exchange.computed = computed
        answer = models.answer(served, computed, exchange.request_id)
        if self._service.trace is not None:
            self._service.trace(call, answer)
        return answer


class ListingHandler:
    """Serves a path that tells of the models; `open` to those too who have no key."""

    def __init__(self, listing: Listing, service: Service) -> None:
        self._listing, self._service = listing, service

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        exchange = exchanges.of(scope)
        exchange.route = self._listing.path
        try:
            self._service.let_in(scope["headers"])
            async with self._service.bodies.read(scope["headers"], receive) as body:
                cards, write = self._service.models.cards(), self._listing.write
                parameters = {**_query(scope, self._listing.query), **scope["path_params"]}
                heavy = self._listing.waits or len(body) > LONG_BODY
                data = await _aside(heavy, write, cards, body, parameters)
        except GoneError:
            exchange.reason = "gone"
            return
        except Exception as error:  # as above
            await fail(as_failure(error), self._listing.fail, exchange, send)
            return
        await respond(send, exchange, 200, data)


async def fail(failure: Failure, write: Callable[[Failure], bytes], exchange: Exchange, send: Send) -> None:
    """Send a failure as its API writes it."""
    exchange.reason = failure.reason
    failure = replace(failure, request_id=exchange.request_id)
    headers = retry_headers(failure)
    if failure.status == 401:
        headers = [*headers, ("www-authenticate", "Bearer")]
    await respond(send, exchange, failure.status, write(failure), headers)


async def respond(
    send: Send, exchange: Exchange, status: int, data: bytes, headers: Pairs = (), kind: str = JSON
) -> None:
    """Send an answer with the headers that all have."""
    exchange.status = status
    pairs = [("content-type", kind), ("content-length", str(len(data))), ("x-request-id", exchange.request_id)]
    encoded = [(name.encode("ascii"), value.encode("latin-1", "replace")) for name, value in (*pairs, *headers)]
    await send({"type": "http.response.start", "status": status, "headers": encoded})
    await send({"type": "http.response.body", "body": data})


def _query(scope: Scope, names: Sequence[str]) -> dict[str, str]:
    """Read what an address says behind its question mark, as far as it is known; of one said twice the last."""
    given = QueryParams(scope["query_string"]) if names else {}
    return {name: given[name] for name in names if name in given}


async def _aside(heavy: bool, function: Callable[..., Result], *args: object) -> Result:
    """Call a function here, or in a thread where it would hold the event loop."""
    return await asyncio.to_thread(function, *args) if heavy else function(*args)


async def _written(call: Call, answer: Answer) -> bytes:
    if call.executor is None:
        return await _aside(len(call.ask.inputs) > MANY_VECTORS, call.write, answer)
    return await asyncio.get_running_loop().run_in_executor(call.executor, call.write, answer)


async def _while_connected(models: Models, served: Served, call: Call, receive: Receive) -> Computed:
    """Compute, unless the client hangs up: then its texts leave the queue, and GoneError is raised."""
    work = asyncio.current_task()
    gone = False

    async def watch() -> None:
        nonlocal gone
        while (await receive())["type"] != "http.disconnect":
            pass
        gone = True
        if work is not None:
            work.cancel()

    watcher = asyncio.create_task(watch())
    try:
        return await _computed(models, served, call)
    except asyncio.CancelledError:
        if not gone or work is None or work.uncancel():
            raise
        raise GoneError from None
    finally:
        watcher.cancel()


async def _computed(models: Models, served: Served, call: Call) -> Computed:
    """Compute, after the model has shown that it is the right one where that is asked."""
    if call.probe is not None:
        call.probe.check(await models.compute(models.find(call.probe.ask), call.probe.ask))
    return await models.compute(served, call.ask)


def _headers_of(call: Call, answer: Answer) -> list[tuple[str, str]]:
    """Say what made the vectors, what was cut and what was passed over, and where the time went."""
    computed, spec = answer.computed, answer.card.spec
    times = computed.timings
    headers = [
        (
            "server-timing",
            f"tok;dur={1e3 * times.tokenize:.2f}, queue;dur={1e3 * times.queue:.2f}, "
            f"compute;dur={1e3 * times.compute:.2f}",
        )
    ]
    if spec.fingerprint:
        headers.append(("edge-embed-fingerprint", spec.fingerprint))
    if computed.truncated:
        headers.append(("edge-embed-truncated", str(computed.truncated)))
    if call.ignored:
        headers.append(("edge-embed-ignored", _header_list(call.ignored)))
    return headers


def _header_list(names: Sequence[str]) -> str:
    """Write names that a client made up: no more than a header holds, and nothing that would end it."""
    words = ["".join(char if "!" <= char <= "~" and char != "," else "?" for char in name[:64]) for name in names[:32]]
    return ", ".join(words)
