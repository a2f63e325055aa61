"""Who would wait too long is sent away before anything is tokenised, and told when to come again."""

from __future__ import annotations

import json
import threading
from pathlib import Path

import pytest

from edge_embed.server.admission import admit
from edge_embed.server.ask import Ask, Failure
from edge_embed.server.inputs import estimate_tokens
from edge_embed.server.settings import Settings

from support.service import WAIT, Running, running


class Slow:
    """An engine of which only the queue is asked."""

    def __init__(self, wait: float, tokens: int) -> None:
        self.wait, self.tokens = wait, tokens

    def predicted_wait(self, tokens: int = 0) -> float:
        return self.wait

    def queued(self) -> Slow:
        return self


@pytest.mark.parametrize(
    ("wait", "tokens", "status", "retry"),
    [(31.0, 0, 429, 31.0), (2.0, 99, 429, 2.0), (0.0, 99, 429, 1.0), (0.0, 900, 413, None)],
)
def test_who_is_sent_away(wait: float, tokens: int, status: int, retry: float | None) -> None:
    settings = Settings(models=[], max_queue_tokens=100)
    inputs = ["x" * 40] * (tokens if status == 413 else 1)
    with pytest.raises(Failure) as found:
        admit(Ask(model=None, inputs=inputs), Slow(wait, tokens), 512, settings)  # type: ignore[arg-type]
    assert (found.value.status, found.value.retry_after) == (status, retry)


def test_who_is_let_in() -> None:
    settings = Settings(models=[], max_queue_tokens=100)
    admit(Ask(model=None, inputs=["x" * 40]), Slow(29.0, 50), 512, settings)  # type: ignore[arg-type]
    admit(Ask(model=None, inputs=["x" * 40]), None, 512, settings)


def test_tokens_are_estimated() -> None:
    assert estimate_tokens(["x" * 40, {"text": "x" * 40}, [1, 2, 3], {"image": "data:"}], 10_000) == 12 + 12 + 3 + 512
    assert estimate_tokens(["x" * 4000], 256) == 256


@pytest.fixture
def full(tiny_tokenizer: Path) -> object:
    with running(tiny_tokenizer, max_queue_tokens=20) as service:
        yield service


def test_a_full_queue_answers_at_once(full: Running) -> None:
    assert full.ask(["tea"])[0] == 200
    backend = full.loader.backend
    backend.gate.clear()
    backend.entered = threading.Semaphore(0)
    answers: list[int] = []
    threads = [threading.Thread(target=lambda: answers.append(full.ask(["x" * 9])[0])) for _ in range(8)]
    for thread in threads:
        thread.start()
    assert backend.entered.acquire(timeout=WAIT)
    while 429 not in answers:
        threading.Event().wait(0.01)
    status, headers, body = full.ask(["x" * 12])
    assert (status, body["oops"]["reason"]) == (429, "overloaded")
    assert int(headers["retry-after"]) >= 1
    assert int(headers["retry-after-ms"]) >= 1000
    assert full.metric('edge_embed_rejected_total{reason="overloaded"}') >= 2
    backend.gate.set()
    for thread in threads:
        thread.join()
    assert set(answers) == {200, 429}
    assert full.ask(["tea"])[0] == 200


def test_more_than_may_ever_wait(full: Running) -> None:
    status, _, body = full.ask(json.dumps({"inputs": ["tea"] * 50}).encode())
    assert (status, body["oops"]["reason"]) == (413, "too_large")
    assert "send fewer inputs at a time" in body["oops"]["message"]
