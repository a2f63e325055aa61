"""What bad or slow clients get, and that nobody else notices: the service answers others all the while."""

from __future__ import annotations

import http.client
import json
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from edge_embed.server.ask import Ask, Call, Endpoint
from edge_embed.server.gather import Paths

from support.service import WAIT, Loader, Running, fail, running

GOOD = json.dumps({"inputs": ["tea"]}).encode()
HEAD = b"POST /vectors HTTP/1.1\r\nHost: here\r\n"


@pytest.fixture(autouse=True)
def _still_there(service: Running) -> Iterator[None]:
    """Ask once more after each test."""
    yield
    assert service.ask(["tea"])[0] == 200
    assert service.process.health.live()[0] == 200


def whole(body: bytes, *headers: bytes) -> bytes:
    return HEAD + b"".join(header + b"\r\n" for header in headers) + b"Content-Length: %d\r\n\r\n" % len(body) + body


def everything(connection: socket.socket) -> bytes:
    """Read until the service closes."""
    parts = []
    while True:
        try:
            part = connection.recv(1 << 16)
        except ConnectionResetError:
            part = b""
        if not part:
            return b"".join(parts)
        parts.append(part)


def one(connection: socket.socket) -> tuple[int, bytes]:
    """Read one answer -> status, body."""
    answer = http.client.HTTPResponse(connection)
    answer.begin()
    return answer.status, answer.read()


@contextmanager
def sent(service: Running, data: bytes) -> Iterator[socket.socket]:
    with service.connect() as connection:
        connection.sendall(data)
        yield connection


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\xff\xfe",
        b'{"inputs": ["\xff"]}',
        b'{"inputs": [' + b"[" * 10_000,
        b"[" * 10_000 + b"]" * 10_000,
        b'{"inputs": "tea"}',
        b'{"inputs": [null]}',
        b'{"inputs": [NaN]}',
        b'{"inputs": [true]}',
        b'{"inputs": [["tea"]]}',
        b'{"inputs": [{}]}',
        b'{"inputs": [{"text": 3}]}',
        b'{"inputs": [{"image": {}}]}',
        b'{"inputs": ["\\ud800"]}',
        b'{"inputs": ["tea"], "dim": NaN}',
        b'{"inputs": ["tea"], "dim": -1}',
        b'{"inputs": ["tea"], "dim": "x"}',
        b'{"inputs": ["tea"], "dim": 1e99}',
        b'{"inputs": ["tea"], "side": "left"}',
        b'{"inputs": ["tea"], "task": "none"}',
    ],
)
def test_bodies_that_hold_no_request(service: Running, body: bytes) -> None:
    status, _, answer = service.ask(body)
    assert 400 <= status < 500, answer
    assert answer["oops"]["message"]
    assert "Traceback" not in answer["oops"]["message"]


def test_a_body_that_says_it_is_too_large(service: Running) -> None:
    with sent(service, HEAD + b"Content-Length: 104857600\r\n\r\n") as connection:
        status, answer = one(connection)
    assert status == 413
    assert b'"reason": "too_large"' in answer
    assert b"1,048,576 bytes" in answer


def test_a_text_that_is_too_large(service: Running) -> None:
    status, _, answer = service.ask(["x" * (2 << 20)])
    assert (status, answer["oops"]["reason"]) == (413, "too_large")


def test_a_chunked_body_without_end(service: Running) -> None:
    with sent(service, HEAD + b"Transfer-Encoding: chunked\r\n\r\n") as connection:
        chunk = b"10000\r\n" + b"x" * (1 << 16) + b"\r\n"
        try:
            for _ in range(1000):
                connection.sendall(chunk)
        except OSError:
            pass
        answer = everything(connection)
    assert not answer or b"413" in answer.split(b"\r\n")[0]
    assert service.process.bodies.held == 0


def test_a_body_without_progress(service: Running) -> None:
    """A chunk's extension has no end, and no limit of the parser's own."""
    with sent(service, HEAD + b"Transfer-Encoding: chunked\r\n\r\n1;") as connection:
        try:
            for _ in range(100):
                connection.sendall(b"x" * (1 << 16))
        except OSError:
            pass
        everything(connection)


@pytest.mark.parametrize("header", [b"X: ", b"X: y\r\n"])
def test_a_head_without_end(service: Running, header: bytes) -> None:
    with sent(service, b"GET /livez HTTP/1.1\r\nHost: here\r\n") as connection:
        try:
            for _ in range(200):
                connection.sendall(header * 1000)
        except OSError:
            pass
        answer = everything(connection)
    assert not answer or answer.startswith(b"HTTP/1.1 431")


@pytest.mark.parametrize(
    "start",
    [
        b"",
        b"\r\n",
        b"G",
        b"GET /livez HTTP/1.1\r\nHos",
        HEAD + b"Content-Length: 9\r\n\r\n{",
        HEAD + b"Content-Length: 9\r\n\r\n",
    ],
)
def test_a_request_that_never_comes_is_ended(service: Running, start: bytes) -> None:
    with sent(service, start) as connection:
        answer = everything(connection)
    assert answer.startswith(b"HTTP/1.1 408")


def test_a_head_that_drips_is_ended(service: Running) -> None:
    with sent(service, b"GET /livez HTTP/1.1\r\n") as connection:
        connection.settimeout(0.05)
        answer = b""
        for _ in range(400):
            try:
                connection.sendall(b"a: b\r\n")
                answer += connection.recv(1 << 16)
            except TimeoutError:
                continue
            except OSError:
                break
            if answer:
                break
    assert answer.startswith(b"HTTP/1.1 408")


def test_a_connection_is_kept_and_ends_a_half_second_request(service: Running) -> None:
    with sent(service, whole(GOOD)) as connection:
        assert one(connection)[0] == 200
        connection.sendall(whole(GOOD))
        assert one(connection)[0] == 200
        connection.sendall(b"GET /li")
        assert everything(connection).startswith(b"HTTP/1.1 408")


def test_http_1_0_closes(service: Running) -> None:
    with sent(service, b"GET /livez HTTP/1.0\r\n\r\n") as connection:
        answer = everything(connection)
    assert answer.split(b"\r\n")[0].endswith(b"200 OK")
    assert b"connection: close" in answer
    assert answer.endswith(b'{"status":"ok"}')


def test_requests_that_come_together_are_answered_in_order(service: Running) -> None:
    asked = b"".join(whole(GOOD, b"X-Request-Id: n%d" % number) for number in range(20))
    with sent(service, asked + b"GET /livez HTTP/1.1\r\nHost: here\r\nConnection: close\r\n\r\n") as connection:
        answer = everything(connection)
    assert answer.count(b"HTTP/1.1 200 OK") == 21
    found = [answer.index(b"x-request-id: n%d\r" % number) for number in range(20)]
    assert found == sorted(found)


@pytest.mark.parametrize(
    "data", [b"\x00\x01\x02", b"GET\r\n\r\n", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"\x16\x03\x01\x02\x00\x01"]
)
def test_what_is_no_http(service: Running, data: bytes) -> None:
    with sent(service, data) as connection:
        answer = everything(connection)
    assert answer.startswith((b"HTTP/1.1 400", b"HTTP/1.1 408"))
    assert b'"message":' in answer


def test_a_websocket_is_none(service: Running) -> None:
    head = b"GET /livez HTTP/1.1\r\nHost: here\r\nConnection: Upgrade, close\r\nUpgrade: websocket\r\n"
    with sent(
        service, head + b"Sec-WebSocket-Key: x3JJHMbDL1EzLkh9GBhXDw==\r\nSec-WebSocket-Version: 13\r\n\r\n"
    ) as connection:
        assert b"HTTP/1.1" in connection.recv(1 << 16)


def test_expect_continue(service: Running) -> None:
    with sent(service, HEAD + b"Expect: 100-continue\r\nContent-Length: %d\r\n\r\n" % len(GOOD)) as connection:
        assert connection.recv(1 << 16) == b"HTTP/1.1 100 Continue\r\n\r\n"
        connection.sendall(GOOD)
        assert one(connection)[0] == 200


def test_a_disconnect_at_every_point(service: Running) -> None:
    data = whole(GOOD)
    for cut in range(0, len(data) + 1, 7):
        with sent(service, data[:cut]):
            pass
    end = time.monotonic() + WAIT
    while service.process.bodies.held and time.monotonic() < end:  # the last hears of it when its turn comes
        time.sleep(0.01)
    assert service.process.bodies.held == 0


def test_texts_of_clients_who_left_are_dropped(tiny_tokenizer: Path) -> None:
    with running(tiny_tokenizer) as service:
        assert service.ask(["tea"])[0] == 200
        backend = service.loader.backend
        backend.gate.clear()
        backend.entered = threading.Semaphore(0)
        with sent(service, whole(GOOD)):
            assert backend.entered.acquire(timeout=WAIT)  # the engine is busy, so the next ones wait
            body = json.dumps({"inputs": ["gone"] * 5}).encode()
            with sent(service, whole(body)):
                wait_for(lambda: service.metric("edge_embed_queue_texts") == 5)
            wait_for(lambda: service.metric("edge_embed_queue_texts") == 0)
            backend.gate.set()
        assert service.metric("edge_embed_abandoned_texts_total") >= 5
        wait_for(lambda: service.metric('edge_embed_requests_total{model="fake",route="/vectors",status="gone"}') >= 1)
        assert service.ask(["tea"])[0] == 200


def test_an_answer_that_nobody_reads_is_not_held(tiny_tokenizer: Path) -> None:
    large = 32 << 20  # more than the system's own buffers hold

    def read(body: bytes, params: object) -> Call:
        return Call(ask=Ask(model=None, inputs=["tea"]), write=lambda answer: bytes(large))

    paths = Paths(endpoints=[Endpoint(path="/vectors", read=read, fail=fail)])
    with running(tiny_tokenizer, paths=paths, send_timeout=0.2) as service, sent(service, whole(GOOD)) as connection:
        assert connection.recv(1)
        wait_for(lambda: not service.process.server.server_state.connections)
        assert len(everything(connection)) < large


def test_one_connection_too_many(tiny_tokenizer: Path) -> None:
    with running(tiny_tokenizer, max_connections=2) as service:
        with service.connect(), service.connect(), service.connect() as third:
            answer = everything(third)
        assert answer.startswith(b"HTTP/1.1 503")
        wait_for(lambda: service.send("GET", "/livez")[0] == 200)


def test_bodies_are_held_until_they_are_answered(tiny_tokenizer: Path) -> None:
    before = threading.Event()
    loader = Loader(tiny_tokenizer, before=lambda: before.wait(WAIT))
    with running(tiny_tokenizer, loader=loader, max_bodies=100) as service:
        body = json.dumps({"inputs": ["tea"] * 10}).encode()
        with sent(service, whole(body)) as first:
            wait_for(lambda: service.process.bodies.held == len(body))  # it waits for the model
            assert service.ask(["tea"] * 10)[0] == 429
            before.set()
            assert one(first)[0] == 200
        assert service.process.bodies.held == 0


def test_bodies_together_have_a_limit(tiny_tokenizer: Path) -> None:
    with running(tiny_tokenizer, max_body=1000, max_bodies=1500) as service:
        with sent(service, HEAD + b"Content-Length: 1000\r\n\r\n" + b"x" * 900):
            wait_for(lambda: service.process.bodies.held == 900)
            status, headers, answer = service.ask(b"x" * 800)
            assert (status, answer["oops"]["reason"], headers["retry-after"]) == (429, "overloaded", "1")
        wait_for(lambda: service.process.bodies.held == 0)


def wait_for(true: object) -> None:
    """Ask until it is so; the service runs in another thread."""
    ready = threading.Event()
    assert callable(true)
    for _ in range(WAIT * 100):
        if true():
            return
        ready.wait(0.01)
    raise AssertionError("it did not come to be")
