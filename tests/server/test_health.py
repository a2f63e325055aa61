"""Health, readiness while it starts and drains, and an engine that does not come back."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path
from types import SimpleNamespace

import pytest

from edge_embed import InputError
from edge_embed.errors import CorruptModelError
from edge_embed.server import health, notify
from edge_embed.server.keys import Keys
from edge_embed.server.run import Process
from edge_embed.server.settings import Settings
from edge_embed.server.sockets import bind_address

from support.service import PATHS, WAIT, Loader, model, running


@pytest.mark.parametrize(
    ("call", "status"), [(None, 200), ((5.0, 0.1), 200), ((31.0, 4.0), 200), ((31.0, 0.1), 503), ((50.0, 4.0), 503)]
)
def test_an_engine_that_does_not_come_back(call: tuple[float, float] | None, status: int) -> None:
    loaded = [(SimpleNamespace(name="fake"), SimpleNamespace(running=lambda: call))]
    found = health.Health(SimpleNamespace(loaded=lambda: loaded))  # type: ignore[arg-type]
    assert found.live()[0] == found.ready()[0] == status
    assert (b"the engine does not come back: fake" in found.live()[1]) == (status == 503)


def test_readiness_goes_first_and_running_requests_finish(tiny_tokenizer: Path) -> None:
    with running(tiny_tokenizer) as service:
        service.ask(["tea"])
        backend = service.loader.backend
        backend.gate.clear()
        backend.entered = threading.Semaphore(0)
        answers: list[int] = []
        busy = threading.Thread(target=lambda: answers.append(service.ask(["tea"])[0]))
        busy.start()
        assert backend.entered.acquire(timeout=WAIT)
        service.process.health.draining = True
        assert service.send("GET", "/readyz")[::2] == (503, {"status": "unavailable", "reason": "draining"})
        assert service.send("GET", "/livez")[0] == 200, "it answers while the engine is busy"
        service.process.server.loop.call_soon_threadsafe(service.process.server.stop)
        while service.process.server.servers[0].is_serving():
            threading.Event().wait(0.01)
        backend.gate.set()
        busy.join(WAIT)
        assert answers == [200]


def test_it_is_ready_when_all_is_loaded(tiny_tokenizer: Path) -> None:
    before = threading.Event()
    loader = Loader(tiny_tokenizer, before=lambda: before.wait(WAIT))
    process = Process(Settings(models=[], preload=True), Keys(None), [model("fake")], loader, PATHS)
    assert process.health.ready() == (503, b'{"status":"unavailable","reason":"models are being loaded"}')
    assert process.health.live()[0] == 200
    before.set()
    with running(tiny_tokenizer, loader=loader, preload=True) as service:
        assert service.send("GET", "/readyz")[0] == 200
        assert service.send("GET", "/cards")[2][0]["loaded"]


def test_a_model_that_cannot_be_preloaded_ends_it(tiny_tokenizer: Path) -> None:
    loader = Loader(tiny_tokenizer, error=CorruptModelError("model.onnx is damaged"))
    process = Process(Settings(models=[], preload=True), Keys(None), [model("fake")], loader, PATHS)
    with pytest.raises(CorruptModelError, match=r"model\.onnx is damaged"):
        process.run(bind_address("127.0.0.1", 0))
    asyncio.set_event_loop(None)


def test_systemd_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import socket

    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(str(tmp_path / "s"))
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "s"))
        notify.notify("READY=1")
        assert systemd.recv(100) == b"READY=1"
    notify.notify("READY=1")  # nobody is there any more
    monkeypatch.setenv("WATCHDOG_USEC", "3000000")
    assert notify.watchdog_interval() == 1.5
    monkeypatch.setenv("WATCHDOG_PID", "1")
    assert notify.watchdog_interval() is None


def test_times_are_read() -> None:
    from edge_embed.server.settings import seconds

    assert [seconds(text) for text in ("30", "500ms", "1.5s", "10m", "2h")] == [30, 0.5, 1.5, 600, 7200]
    for wrong in ("", "-1", "1d", "1e9", "\u0663"):
        with pytest.raises(InputError, match="is not a time"):
            seconds(wrong)
