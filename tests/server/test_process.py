"""The command itself, in a process of its own, with a real model: its socket, its keys, its log, its end."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from edge_embed.cli.main import main

from support.places import ROOT
from support.service import WAIT

TEXT = "a text that no log may hold"


class FileConnection(http.client.HTTPConnection):
    """HTTP over a socket of the file system."""

    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=60)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(60)
        self.sock.connect(str(self._path))


def ask(path: Path, key: str, inputs: list[str]) -> tuple[int, bytes]:
    connection = FileConnection(path)
    try:
        body = json.dumps({"input": inputs, "model": "small"})
        connection.request("POST", "/v1/embeddings", body, {"Authorization": f"Bearer {key}"})
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def status(path: Path, where: str) -> int:
    connection = FileConnection(path)
    try:
        connection.request("GET", where)
        return connection.getresponse().status
    finally:
        connection.close()


@contextmanager
def started(*words: str, **environment: str) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-m", "edge_embed.cli.main", "serve", *words]
    settings = {**os.environ, "PYTHONPATH": str(ROOT), **environment}
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=settings, start_new_session=True
    )
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate()


def test_a_life(converted: Path, tmp_path: Path) -> None:
    place, keys, told = tmp_path / "s", tmp_path / "keys", tmp_path / "notify"
    keys.write_text("# of the first machine\n\nalpha\n")
    systemd = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    systemd.bind(str(told))
    systemd.settimeout(60)
    words = [f"{converted}:int8=small", "--uds", str(place), "--api-key-file", str(keys), "--preload"]
    with systemd, started(*words, "--log-format", "json", NOTIFY_SOCKET=str(told)) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == f"serving on unix:{place}\n"
        assert systemd.recv(100) == b"READY=1"
        assert stat.S_IMODE(place.stat().st_mode) == 0o600
        assert status(place, "/readyz") == 200
        assert [ask(place, key, [TEXT])[0] for key in ("alpha", "beta", "")] == [200, 401, 401]

        keys.write_text("beta\n")
        process.send_signal(signal.SIGHUP)
        while ask(place, "beta", [TEXT])[0] != 200:
            threading.Event().wait(0.05)
        assert ask(place, "alpha", [TEXT])[0] == 401

        many: list[tuple[int, bytes]] = []
        texts = [f"{TEXT}, the {number}th of them" * 4 for number in range(100)]
        running = threading.Thread(target=lambda: many.append(ask(place, "beta", texts)))
        running.start()
        while running.is_alive() and waiting(place) == 0:
            threading.Event().wait(0.01)
        process.send_signal(signal.SIGTERM)
        assert systemd.recv(100) == b"STOPPING=1"
        running.join(120)
        assert many[0][0] == 200
        assert len(json.loads(many[0][1])["data"]) == 100
        assert process.wait(WAIT) == 0
        assert not place.exists()
        log = process.stderr.read() if process.stderr else ""
    lines = [json.loads(line) for line in log.splitlines()]
    assert any(
        line.get("texts") == 100 and line["status"] == 200 and line["route"] == "/v1/embeddings" for line in lines
    )
    assert "no log may hold" not in log
    assert "alpha" not in log
    assert "beta" not in log


def waiting(path: Path) -> int:
    connection = FileConnection(path)
    try:
        connection.request("GET", "/metrics", headers={"x-api-key": "beta"})
        text = connection.getresponse().read().decode()
    finally:
        connection.close()
    return int(float(next(line for line in text.splitlines() if line.startswith("edge_embed_queue_texts")).split()[-1]))


def test_a_second_signal_ends_it_at_once(converted: Path, tmp_path: Path) -> None:
    place = tmp_path / "s"
    with started(f"{converted}:int8", "--uds", str(place), "--drain-delay", "1h") as process:
        assert process.stdout is not None
        process.stdout.readline()
        assert status(place, "/readyz") == 200
        process.send_signal(signal.SIGINT)
        while status(place, "/readyz") != 503:
            threading.Event().wait(0.02)
        assert status(place, "/livez") == 200, "draining is no illness"
        process.send_signal(signal.SIGINT)
        assert process.wait(WAIT) == 130
        assert not place.exists()


def test_sockets_of_systemd(converted: Path) -> None:
    """LISTEN_PID is the process's own, so that a shell says it, which then becomes the service."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        script = 'export LISTEN_PID=$$ LISTEN_FDS=1; exec "$@" 3<&0 0</dev/null'
        command = [sys.executable, "-m", "edge_embed.cli.main", "serve", f"{converted}:int8", "--port", "1"]
        settings = {**os.environ, "PYTHONPATH": str(ROOT)}
        process = subprocess.Popen(
            ["/bin/sh", "-c", script, "sh", *command],
            stdin=listener.fileno(), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=settings,
        )  # fmt: skip
    with process:
        assert process.stdout is not None
        try:
            assert process.stdout.readline() == f"serving on http://127.0.0.1:{port}\n"
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=WAIT)
            connection.request("GET", "/livez")
            assert connection.getresponse().status == 200
            connection.close()
        finally:
            process.terminate()
        assert process.wait(WAIT) == 0


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--port", "70000"], "--port 70000 is none: give 0 to 65535"),
        (["--max-wait", "soon"], "'soon' is not a time: give seconds, or a text such as '500ms', '30s', '10m' or '1h'"),
        (["--max-memory", "much"], "'much' is not a size"),
        (["--threads", "0"], "--threads 0 must be at least 1"),
        (["--api-key-file", "/nowhere/keys"], "the keys cannot be read"),
        (["--host", "192.0.2.1"], "cannot listen on 192.0.2.1:8080: it is none of this machine's addresses"),
        (["nowhere/at/all"], "nowhere/at/all"),
    ],
)
def test_what_cannot_be_served(
    converted: Path, words: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    model = [] if words[0][0] != "-" else [f"{converted}:int8"]
    assert main(["serve", *words, *model]) == 1
    assert message in capsys.readouterr().err


def test_a_port_that_is_in_use(converted: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        assert main(["serve", f"{converted}:int8", "--port", str(port)]) == 1
    assert f"cannot listen on 127.0.0.1:{port}: another program listens there" in capsys.readouterr().err
