"""A service that is killed under load, again and again: what it answered was right, and it comes back at once."""

from __future__ import annotations

import base64
import http.client
import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from benchmarks.service.servers import free_port
from edge_embed import Embedder

from support import faults
from support.places import ROOT

CALLERS = 16
TEXTS = [f"text number {n} of those who ask while it dies" for n in range(40)]


class Callers:
    """Threads that ask without end; an answer is right, a refusal or no answer."""

    def __init__(self, port: int, expected: dict[str, bytes]) -> None:
        self._port, self._expected = port, expected
        self.right = self.lost = 0
        self.wrong: list[str] = []
        self.stop = threading.Event()
        self._lock = threading.Lock()
        self._threads = [threading.Thread(target=self._ask, args=[n], daemon=True) for n in range(CALLERS)]
        for thread in self._threads:
            thread.start()

    def end(self) -> None:
        self.stop.set()
        for thread in self._threads:
            thread.join(60)
            assert not thread.is_alive()

    def _ask(self, number: int) -> None:
        rng = random.Random(number)
        while not self.stop.is_set():
            text = rng.choice(TEXTS)
            body = json.dumps({"input": [text], "encoding_format": "base64"})
            connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=60)
            try:
                connection.request("POST", "/v1/embeddings", body)
                answer = connection.getresponse()
                data = answer.read()
            except (OSError, http.client.HTTPException):
                with self._lock:
                    self.lost += 1
                time.sleep(0.05)
                continue
            finally:
                connection.close()
            vector = base64.b64decode(json.loads(data)["data"][0]["embedding"]) if answer.status == 200 else b""
            with self._lock:
                if vector == self._expected[text]:
                    self.right += 1
                else:
                    self.wrong.append(f"{answer.status} {data[:200]!r}")


def serve(model: str, port: int) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "edge_embed.cli.main", "serve", model, "--port", str(port), "--preload"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=environment)
    assert process.stdout is not None
    with process.stdout as told:  # it says nothing after this
        assert told.readline() == f"serving on http://127.0.0.1:{port}\n"
    return process


def vectors_of(model: str) -> dict[str, bytes]:
    with Embedder(model) as embedder:
        return {text: vector.tobytes() for text, vector in zip(TEXTS, embedder.encode(TEXTS), strict=True)}


def test_killed_under_load_and_back(converted: Path) -> None:
    port, expected = free_port(), vectors_of(model := f"{converted}:int8")
    end, kills = time.monotonic() + faults.seconds(0.1), 0
    process = serve(model, port)
    callers = Callers(port, expected)
    try:
        while kills == 0 or time.monotonic() < end:
            before = callers.right
            while callers.right < before + 20:
                assert process.poll() is None
                time.sleep(0.01)
            process.send_signal(signal.SIGKILL)
            process.wait()
            kills += 1
            process = serve(model, port)
        before = callers.right
        while callers.right < before + 20:
            time.sleep(0.01)
        process.send_signal(signal.SIGTERM)  # who is being answered then gets the answer
        assert process.wait(60) == 0
    finally:
        process.kill()
        callers.end()
    assert not callers.wrong
    print(f"{kills} kills, {callers.right} answers, {callers.lost} lost")


@pytest.mark.skipif(not faults.long(), reason="a minute and more: EDGE_EMBED_FAULTS sets how long")
def test_memory_stays_flat_for_as_long_as_it_is_asked(converted: Path) -> None:
    port, expected = free_port(), vectors_of(model := f"{converted}:int8")
    process = serve(model, port)
    callers = Callers(port, expected)
    try:
        seconds, held = faults.seconds(1.0), []
        for _ in range(10):
            time.sleep(seconds / 10)
            lines = Path(f"/proc/{process.pid}/status").read_text().splitlines()
            held.append(int(next(line.split()[1] for line in lines if line.startswith("VmRSS:"))))
    finally:
        callers.stop.set()
        callers.end()
        process.terminate()
        process.wait(60)
    print(f"{callers.right} answers, resident kB {held}")
    assert not callers.wrong
    assert held[-1] < 1.05 * held[2]
