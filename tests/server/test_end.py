"""The end of a service that loads a model: nobody waits for a load that nobody needs any more."""

from __future__ import annotations

import http.client
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from support.places import ROOT
from support.service import WAIT

PROGRAM = """
import sys, time
from pathlib import Path
from edge_embed.server.engine import open_engine
from edge_embed.server.run import serve
from edge_embed.server.settings import Settings

model, place, gate, *preload = sys.argv[1:]

def slowly(*asked):
    print("loading", flush=True)
    while not Path(gate).exists():
        time.sleep(0.01)
    return open_engine(*asked)

settings = Settings(models=[model], uds=Path(place), preload=bool(preload))
serve(settings, lambda urls: print("serving", flush=True), slowly)
print("ended", flush=True)
"""


@contextmanager
def started(*words: str | Path) -> Iterator[subprocess.Popen[str]]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", PROGRAM, *map(str, words)]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def said(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def connect(place: Path) -> http.client.HTTPConnection:
    connection = http.client.HTTPConnection("localhost")
    connection.sock = socket.socket(socket.AF_UNIX)
    connection.sock.settimeout(WAIT)
    try:
        connection.sock.connect(str(place))
    except OSError:
        connection.close()
        raise
    return connection


def test_a_signal_while_a_model_is_preloaded(converted: Path, tmp_path: Path) -> None:
    place = tmp_path / "s"
    with started(f"{converted}:int8", place, tmp_path / "never", "preload") as process:
        assert said(process) == "loading"
        with closing(connect(place)) as connection:
            connection.request("GET", "/readyz")
            assert connection.getresponse().status == 503
        process.send_signal(signal.SIGTERM)
        assert process.wait(WAIT) == 0
        assert not place.exists()


def test_a_load_whose_client_has_left(converted: Path, tmp_path: Path) -> None:
    place = tmp_path / "s"
    with started(f"{converted}:int8", place, tmp_path / "never") as process:
        assert said(process) == "serving"
        with closing(connect(place)) as connection:
            connection.request("POST", "/v1/embeddings", b'{"input": "tea"}')
            assert said(process) == "loading"
        process.send_signal(signal.SIGTERM)
        assert process.wait(WAIT) == 0
        assert not place.exists()


@pytest.mark.parametrize("signalled", [True, False])
def test_who_waits_for_a_load_gets_an_answer_before_the_end(converted: Path, tmp_path: Path, signalled: bool) -> None:
    place, gate = tmp_path / "s", tmp_path / "gate"
    with started(f"{converted}:int8", place, gate) as process:
        assert said(process) == "serving"
        with closing(connect(place)) as connection:
            connection.request("POST", "/v1/embeddings", b'{"input": "tea"}')
            assert said(process) == "loading"
            if signalled:
                process.send_signal(signal.SIGTERM)
                while True:  # until it takes no more connections
                    try:
                        connect(place).close()
                    except OSError:
                        break
                    threading.Event().wait(0.01)
            gate.touch()
            answer = connection.getresponse()
            assert (answer.status, b'"embedding"' in answer.read()) == (200, True)
        if not signalled:
            process.send_signal(signal.SIGTERM)
        assert process.wait(WAIT) == 0
        assert said(process) == "ended", "it came to its end by itself"
