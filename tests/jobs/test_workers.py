"""Workers that die: replaced, until three in a row die before they begin, or three on the same chunk."""

from __future__ import annotations

import io
import queue
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from edge_embed.errors import BackendError
from edge_embed.jobs import workers
from edge_embed.jobs.settings import Execution
from edge_embed.jobs.watch import Meter
from edge_embed.records.row import Chunk

CHUNKS = [Chunk(number=n, input=0, start=n, stop=n + 1, line=n + 1, rows=1, hash="") for n in range(4)]


def run(monkeypatch: pytest.MonkeyPatch, *fates: str) -> int:
    """Run the chunks by workers of which each is `unborn`, `dies` on its first chunk, or `works`; count the done."""
    ahead = [*fates]

    class Scripted:
        def __init__(self, folder: Path, execution: Execution, said: queue.Queue[tuple[Any, dict[str, Any]]]) -> None:
            self.chunk: Chunk | None = None
            self.process = SimpleNamespace(stdin=io.StringIO(), wait=lambda: -9)
            self._said, self._fate = said, ahead.pop(0)
            said.put((self, {"what": "ended" if self._fate == "unborn" else "ready"}))

        def compute(self, chunk: Chunk) -> None:
            self.chunk = chunk
            dies = self._fate == "dies"
            self._said.put((self, {"what": "ended"} if dies else {"what": "chunk", "outcome": {"rows": 1}}))

        def end(self) -> None:
            self.process.stdin.close()

    monkeypatch.setattr(workers, "Worker", Scripted)
    return sum(one.rows for one in workers.run_workers(Path(), CHUNKS, Execution(), Meter(len(CHUNKS), "none")))


def test_the_dead_are_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    assert run(monkeypatch, "dies", "dies", "works") == 4


def test_deaths_before_the_beginning_count_in_a_row(monkeypatch: pytest.MonkeyPatch) -> None:
    assert run(monkeypatch, "unborn", "unborn", "dies", "unborn", "unborn", "works") == 4
    with pytest.raises(BackendError, match="3 processes died before they could begin, the last with status -9"):
        run(monkeypatch, "unborn", "unborn", "unborn")


def test_a_chunk_that_kills_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(BackendError, match="3 processes died on chunk 0, the last with status -9"):
        run(monkeypatch, "dies", "unborn", "dies", "dies")
