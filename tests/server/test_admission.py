"""Who would wait too long is sent away before anything is tokenised, and told when to come again."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from edge_embed.server.admission import admit
from edge_embed.server.ask import Failure
from edge_embed.server.failures import retry_headers
from edge_embed.server.settings import Settings

from support.service import WAIT, Running, running


class Slow:
    """An engine of which only the wait is asked."""

    def __init__(self, wait: float) -> None:
        self.predicted_wait = lambda tokens=0: wait


def test_who_would_wait_too_long() -> None:
    settings = Settings(models=[])
    with pytest.raises(
        Failure, match="an answer would take about 31 s, more than the 30 s that this server lets"
    ) as found:
        admit(Slow(31.2), settings)  # type: ignore[arg-type]
    assert (found.value.status, found.value.reason, found.value.retry_after) == (429, "overloaded", 31.2)
    assert retry_headers(found.value) == [("retry-after", "32"), ("retry-after-ms", "31200")]
    admit(Slow(29.0), settings)  # type: ignore[arg-type]
    admit(None, settings)  # nothing is known before it is loaded


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


def test_a_large_request_goes_through_an_empty_queue(full: Running) -> None:
    assert full.ask(["tea"] * 50)[0] == 200


def test_a_text_that_no_model_reads(full: Running) -> None:
    status, _, body = full.ask(["tea", "x" * (1 + (1 << 20))])
    assert (status, body["oops"]["reason"]) == (413, "too_large")
    assert body["oops"]["message"] == "input 1 has 1,048,577 characters, the limit is 1,048,576: send it in parts"
