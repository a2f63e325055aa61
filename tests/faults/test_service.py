"""The service under requests that nobody would send: what its own document allows and forbids, and spoilt bytes.

None ends in a 5xx or in an answer of another kind than JSON, and nothing of them is left.
"""

from __future__ import annotations

import contextlib
import json
import random
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, seed, settings
from hypothesis.errors import Unsatisfiable

from edge_embed.server.gather import gather

from support.faults import long, seconds
from support.service import WAIT, Running, running

FAST = 0.05  # of the folder's time
REQUESTS = 60.0  # seconds of requests by the document, of which there are many kinds, unless the variable says less
PAGES = ("text/html", "text/css", "text/javascript", "image/svg+xml", "text/plain")


@pytest.fixture(scope="module")
def service(tiny_tokenizer: Path) -> Iterator[Running]:
    with running(tiny_tokenizer, paths=gather(), max_body=1 << 20, head_timeout=1.0, body_timeout=1.0) as found:
        yield found


@pytest.fixture(autouse=True)
def _nothing_is_left(service: Running) -> Iterator[None]:
    yield
    end = time.monotonic() + WAIT
    while service.process.server.server_state.connections and time.monotonic() < end:
        time.sleep(0.01)
    assert not service.process.server.server_state.connections
    assert service.process.bodies.held == 0
    assert service.send("GET", "/readyz")[0] == 200
    assert service.metric("edge_embed_queue_texts") == service.metric("edge_embed_queue_tokens") == 0
    status, _, body = service.ask(json.dumps({"input": ["tea"], "model": "fake"}).encode(), "/v1/embeddings")
    assert (status, len(body["data"])) == (200, 1)


def check(service: Running, method: str, path: str, body: bytes, headers: dict[str, str]) -> None:
    status, told, answer = service.send(method, path, body, headers)
    asked = (method, path, body[:400], headers)
    assert status < 500, (asked, answer)
    kind = told.get("content-type", "").partition(";")[0]
    assert method == "HEAD" or status == 304 or kind == "application/json" or kind in PAGES, (asked, told)
    assert status < 400 or b"Traceback" not in json.dumps(answer, default=str).encode(), asked


def test_what_the_document_allows_and_forbids(service: Running) -> None:
    schemathesis = pytest.importorskip("schemathesis")
    document = service.send("GET", "/openapi.json")[2]
    operations = [one.ok() for one in schemathesis.openapi.from_dict(document).get_all_operations()]
    assert len(operations) >= 15
    modes = list(schemathesis.GenerationMode)
    end, turn = time.monotonic() + seconds(2 * FAST, REQUESTS), random.randrange(1 << 30) if long() else 0
    while time.monotonic() < end:
        operation, mode = operations[turn % len(operations)], modes[turn // len(operations) % len(modes)]
        turn += 1

        @seed(turn)
        @settings(max_examples=15, deadline=None, database=None, suppress_health_check=list(HealthCheck))
        @given(case=operation.as_strategy(generation_mode=mode))
        def one(case: object) -> None:
            if time.monotonic() < end:
                send_case(service, case)

        with contextlib.suppress(Unsatisfiable):  # nothing is wrong for a path that takes nothing
            one()


def send_case(service: Running, case: object) -> None:
    """Send a generated request as bytes, whatever its body is; what no HTTP library would write is left out."""
    given_body = getattr(case, "body", None)
    body = b"" if type(given_body).__name__ == "NotSet" else json.dumps(given_body, default=str).encode()
    path = case.formatted_path  # type: ignore[attr-defined]
    headers = {
        str(name): str(value)
        for name, value in (getattr(case, "headers", None) or {}).items()
        if str(name).isascii()
        and str(name).replace("-", "").isalnum()
        and str(value).isascii()
        and str(value).isprintable()
    }
    headers.pop("Content-Length", None)
    if path.isascii() and path.isprintable() and " " not in path:
        check(service, case.method, path, body, {**headers, "Content-Type": "application/json"})  # type: ignore[attr-defined]


def spoilt(chance: random.Random, data: bytes) -> bytes:
    """Cut, swap, repeat or overwrite a few bytes."""
    found = bytearray(data)
    for _ in range(chance.randrange(1, 5)):
        at, kind = chance.randrange(len(found) or 1), chance.randrange(5)
        if kind == 0:
            del found[at : at + chance.randrange(1, 20)]
        elif kind == 1:
            found[at:at] = bytes(chance.randrange(256) for _ in range(chance.randrange(1, 9)))
        elif kind == 2:
            found[at:at] = found[at : at + chance.randrange(200)]
        elif kind == 3 and found:
            found[at % len(found)] = chance.randrange(256)
        else:
            found[at:at] = chance.choice(
                [b"\r\n", b"\r\n\r\n", b"0\r\n\r\n", b"Transfer-Encoding: chunked\r\n", b"[" * 3000]
            )
    return bytes(found)


def test_spoilt_bytes(service: Running) -> None:
    body = json.dumps({"input": ["tea", "tax"], "model": "fake", "dimensions": 8, "encoding_format": "base64"}).encode()
    head = b"POST /v1/embeddings HTTP/1.1\r\nHost: here\r\nContent-Type: application/json\r\nConnection: close\r\n"
    samples = [
        head + b"Content-Length: %d\r\n\r\n" % len(body) + body,
        head + b"Transfer-Encoding: chunked\r\n\r\n%x\r\n" % len(body) + body + b"\r\n0\r\n\r\n",
        b"GET /v1/models HTTP/1.1\r\nHost: here\r\nConnection: close\r\n\r\n",
    ]
    start = random.randrange(1 << 30) if long() else 0
    end, number = time.monotonic() + seconds(FAST), start
    while time.monotonic() < end:
        chance = random.Random(number)
        data = spoilt(chance, chance.choice(samples))
        with service.connect() as connection:
            try:
                connection.sendall(data)
                if chance.randrange(3):
                    connection.settimeout(0.1)  # some wait for more, and are ended by the service
                    first = connection.recv(1 << 16)
                    assert not first or first.startswith(b"HTTP/1.1 "), (number, first)
                    assert not first.startswith(b"HTTP/1.1 5"), (number, data, first)
            except OSError:  # it hung up first, or waits
                pass
        number += 1
    assert number > start
