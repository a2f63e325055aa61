"""The service on the fake backend: an API of its own that is easy to read, engines that wait to be let go, a thread."""

from __future__ import annotations

import contextlib
import http.client
import json
import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from edge_embed import AsyncEmbedder, Embedder, ModelSpec
from edge_embed.backends import Batch, Rows
from edge_embed.backends.fake import FakeBackend
from edge_embed.errors import EdgeEmbedError
from edge_embed.pipeline.tokenizer import TextTokenizer
from edge_embed.server.ask import Answer, Ask, Call, Card, Endpoint, Failure, Listing
from edge_embed.server.describe import Described
from edge_embed.server.engine import Engine, Observe
from edge_embed.server.gather import Paths
from edge_embed.server.indexes import Indexes
from edge_embed.server.keys import Keys
from edge_embed.server.models import Model
from edge_embed.server.run import Process
from edge_embed.server.settings import Settings
from edge_embed.server.sockets import bind_address

from .fake import SPEC

WAIT = 20  # seconds that a test waits for what should come at once


def read(body: bytes, params: Any) -> Call:
    try:
        data = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise Failure(status=400, reason="bad_request", message="not JSON") from error
    known = {"model", "inputs", "side", "task", "dim", "keep_errors"}
    if not isinstance(data, dict) or not isinstance(data.get("inputs"), list):
        raise Failure(status=400, reason="bad_request", message="no inputs", field="inputs")
    ask = Ask(**{"model": None, **{name: value for name, value in data.items() if name in known}})
    return Call(ask=ask, write=write, ignored=[name for name in data if name not in known])


def write(answer: Answer) -> bytes:
    return json.dumps({"vectors": answer.computed.vectors.tolist(), "model": answer.card.name}).encode()


def fail(failure: Failure) -> bytes:
    told = {"message": failure.message, "reason": failure.reason, "field": failure.field, "id": failure.request_id}
    return json.dumps({"oops": told}).encode()


def cards(found: Sequence[Card], body: bytes, params: Any) -> bytes:
    return json.dumps([{"name": card.name, "loaded": card.loaded, "expires": card.expires} for card in found]).encode()


PATHS = Paths(
    endpoints=[Endpoint(path="/vectors", read=read, fail=fail)],
    listings=[Listing(path="/cards", write=cards, fail=fail)],
)


class GatedBackend(FakeBackend):
    """A fake backend whose calls wait while the gate is shut, and that fails for what it was told."""

    def __init__(self, dim: int) -> None:
        super().__init__(dim)
        self.gate, self.entered = threading.Event(), threading.Semaphore(0)
        self.gate.set()
        self.error: Exception | None = None
        self.calls = 0

    def forward(self, batch: Batch) -> list[Rows]:
        self.calls += 1
        self.entered.release()
        assert self.gate.wait(WAIT)
        if self.error is not None:
            raise self.error
        return super().forward(batch)


@dataclass
class Loader:
    """Opens fake models and remembers them."""

    tokenizer: Path
    opened: list[tuple[str, str | None]] = field(default_factory=list)
    backends: list[GatedBackend] = field(default_factory=list)
    error: EdgeEmbedError | None = None
    told: Settings = field(default_factory=lambda: Settings(models=[]))
    before: Callable[[], object] = lambda: None
    spec: ModelSpec = SPEC

    def __call__(self, reference: str, task: str | None, settings: Settings, observe: Observe) -> Engine:
        self.before()
        self.opened.append((reference, task))
        self.told = settings
        if self.error is not None:
            raise self.error
        backend = GatedBackend(self.spec.dim)
        self.backends.append(backend)
        tokenizer = TextTokenizer(self.tokenizer, self.spec.max_tokens, "text")
        embedder = Embedder.from_parts(replace(self.spec, name=reference, task=task), tokenizer, backend)
        return AsyncEmbedder(embedder, max_queue_tokens=settings.max_queue_tokens, observe=observe)

    @property
    def backend(self) -> GatedBackend:
        """The last that was opened."""
        return self.backends[-1]


def model(name: str, peak: int = 10, **changes: Any) -> Model:
    spec = replace(SPEC, name=name, **changes)
    return Model(name, f"ref-{name}", Described(spec=spec, level="onnx:int8", bytes=peak, created=1, peak=peak))


@dataclass
class Running:
    """A service that answers on a port of this machine."""

    port: int
    process: Process
    loader: Loader

    def ask(
        self,
        inputs: Any,
        path: str = "/vectors",
        method: str = "POST",
        headers: dict[str, str] | None = None,
        **fields: Any,
    ) -> tuple[int, dict[str, str], Any]:
        """Ask once -> status, headers, what the body holds."""
        body = inputs if isinstance(inputs, bytes) else json.dumps({"inputs": inputs, **fields}).encode()
        return self.send(method, path, body, headers)

    def send(
        self, method: str, path: str, body: bytes = b"", headers: dict[str, str] | None = None
    ) -> tuple[int, dict[str, str], Any]:
        """Send one request -> status, headers, what the body holds."""
        with contextlib.closing(http.client.HTTPConnection("127.0.0.1", self.port, timeout=WAIT)) as connection:
            connection.request(method, path, body, headers or {})
            answer = connection.getresponse()
            data = answer.read()
        told = {name.lower(): value for name, value in answer.getheaders()}
        kind = told.get("content-type", "")
        return answer.status, told, json.loads(data) if kind == "application/json" and data else data

    def connect(self) -> socket.socket:
        """Open a connection to write bytes to."""
        return socket.create_connection(("127.0.0.1", self.port), WAIT)

    def metric(self, line: str) -> float:
        """Return the value of one of /metrics' lines, 0 where it is not there."""
        text = self.send("GET", "/metrics")[2].decode()
        return next((float(found.rpartition(" ")[2]) for found in text.splitlines() if found.startswith(line)), 0.0)


@contextmanager
def running(
    tokenizer: Path,
    models: Sequence[Model] = (),
    paths: Paths = PATHS,
    loader: Loader | None = None,
    indexes: Indexes | None = None,
    **options: Any,
) -> Iterator[Running]:
    """Run a service in a thread of this process, with its own event loop."""
    settings = Settings(models=[], port=0, **options)
    loader = loader or Loader(tokenizer)
    process = Process(settings, Keys(settings.api_key_file), models or [model("fake")], loader, paths, indexes)
    sockets = bind_address(settings.host, settings.port)
    port, started = sockets[0].getsockname()[1], threading.Event()
    thread = threading.Thread(target=process.run, args=(sockets, started.set), name="service")
    thread.start()
    try:
        assert started.wait(WAIT)
        yield Running(port, process, loader)
    finally:
        for backend in loader.backends:
            backend.gate.set()
        process.server.loop.call_soon_threadsafe(process.server.stop)
        thread.join(WAIT)
        assert not thread.is_alive()


def vectors_of(embedder: Embedder, texts: Sequence[str], **options: Any) -> list[list[float]]:
    """Return what an Embedder says, as JSON has it."""
    return [
        [float(number) for number in row] for row in np.asarray(embedder.encode(list(texts), **options), np.float32)
    ]
