"""The log: a line a request, of either form, and never what a caller sent."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import pytest

from edge_embed.errors import BackendError
from edge_embed.server import logs
from edge_embed.server.settings import LogFormat

from support.service import running

SECRET = "the moon is a secret"


def written(tokenizer: Path, form: LogFormat, capfd: pytest.CaptureFixture[str]) -> list[str]:
    with logs.to_standard_error(form), running(tokenizer) as service:
        service.ask([SECRET, "tea"], headers={"x-request-id": "job-1"})
        service.ask([SECRET], model=SECRET)
        service.ask([{SECRET: SECRET}])
        service.ask(b'{"' + SECRET.encode())
        service.send("GET", f"/{SECRET.replace(' ', '/')}?q={SECRET.replace(' ', '+')}")
        service.send("GET", "/cards", headers={"Authorization": f"Bearer {SECRET}"})
        service.ask(["tea"], headers={"x-request-id": SECRET})
        service.loader.backend.error = BackendError(f"cannot tokenise {SECRET!r}")
        service.ask([SECRET])
        service.loader.backend.error = ValueError(SECRET)
        service.ask([SECRET])
    return capfd.readouterr().err.splitlines()


def test_lines_of_text(tiny_tokenizer: Path, capfd: pytest.CaptureFixture[str]) -> None:
    lines = written(tiny_tokenizer, "text", capfd)
    (first,) = [line for line in lines if "request_id=job-1 " in line]
    assert " info status=200 method=POST route=/vectors ms=" in first
    assert " model=fake texts=2 tokens=" in first
    assert any("status=404 method=GET route=(unknown)" in line for line in lines)
    assert any("error a request failed: BackendError at " in line for line in lines)
    assert not [line for line in lines if "secret" in line or "moon" in line]


def test_lines_of_json(tiny_tokenizer: Path, capfd: pytest.CaptureFixture[str]) -> None:
    lines = written(tiny_tokenizer, "json", capfd)
    found = [json.loads(line) for line in lines]
    (first,) = [line for line in found if line.get("request_id") == "job-1"]
    assert {name: first[name] for name in ("level", "status", "route", "model", "texts")} == {
        "level": "info", "status": 200, "route": "/vectors", "model": "fake", "texts": 2,
    }  # fmt: skip
    assert {"time", "ms", "tokens", "truncated", "tokenize_ms", "queue_ms", "compute_ms"} <= first.keys()
    assert [line["reason"] for line in found if line.get("status") == 500] == ["internal", "internal"]
    assert not [line for line in lines if "secret" in line or "moon" in line]


def test_other_loggers_are_left_as_they_were() -> None:
    logger = logging.getLogger("edge_embed")
    before = (logger.handlers, logger.propagate, logger.level)
    with logs.to_standard_error("text"):
        assert not logger.propagate
    assert (logger.handlers, logger.propagate, logger.level) == before


def test_engines_say_what_is_wrong_alone(capfd: pytest.CaptureFixture[str]) -> None:
    engine = logging.getLogger("edge_embed.llama_cpp")
    with logs.to_standard_error("text"):
        engine.info("a line of a model's description")
        engine.warning("a line of trouble")
    (line,) = capfd.readouterr().err.splitlines()
    assert line.endswith(" warning a line of trouble")
