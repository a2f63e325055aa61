"""Whose turn it is, how much goes together, and how little is wasted."""

from __future__ import annotations

import numpy as np
import pytest

from edge_embed.batching.batcher import Batcher, EngineCall
from edge_embed.batching.request import Request
from edge_embed.batching.ring import WINDOW, Ring, equal_share
from edge_embed.pipeline.batches import CALL_COST

from support.engine import BUDGET, Clock, FakeEngine, FakeRow


def request(*lengths: int, kind: str = "text") -> Request:
    return Request({n: FakeRow(n, length, kind=kind) for n, length in enumerate(lengths)})


@pytest.mark.parametrize(
    ("counts", "room", "share"),
    [([1000], 512, 512), ([1000, 1000], 512, 256), ([1, 1, 1000], 512, 510), ([1] * 600, 512, 1), ([5], 512, 512)],
)
def test_the_window_is_shared_equally(counts: list[int], room: int, share: int) -> None:
    assert equal_share(counts, room) == share


def test_a_window_of_many_small_and_one_large() -> None:
    ring = Ring({"text": 10**9})
    ring.add(request(*[1] * 5000))
    for _ in range(100):
        ring.add(request(1))
    taken = ring.take()
    assert len(taken) == WINDOW
    assert len({one.request for one in taken}) == 101


def test_a_small_one_does_not_wait_for_all_of_a_large_one() -> None:
    ring = Ring({"text": BUDGET})
    large, small = request(*[BUDGET] * 1000), request(3)
    ring.add(large)
    ring.add(small)
    assert [one.request for one in ring.take()] == [large]
    assert [one.request for one in ring.take()] == [small]
    assert len(large.waiting) == 999


def test_kinds_do_not_share_a_call() -> None:
    ring = Ring({"text": 100, "image": 2})
    mixed = Request(
        {0: FakeRow(0, 5), 1: FakeRow(1, 1, kind="image"), 2: FakeRow(2, 5), 3: FakeRow(3, 1, kind="image")}
    )
    ring.add(mixed)
    ring.add(request(1, kind="image"))
    assert [one.row.kind for one in ring.take()] == ["text", "text"]
    assert [one.row.kind for one in ring.take()] == ["image"] * 2
    assert [one.row.kind for one in ring.take()] == ["image"]


def test_a_row_that_becomes_another_is_next() -> None:
    engine = FakeEngine(kinds={"text": BUDGET, "image": 1})
    batcher = Batcher(engine, engine.clock)
    became = Request({0: FakeRow(7, 1, kind="image", becomes=FakeRow(8, 4)), 1: FakeRow(9, 1, kind="image")})
    batcher.submit(became)
    while batcher.step():
        pass
    assert [[row.number for row in call] for call in engine.calls] == [[7], [8], [9]]
    assert [vector.tolist() for _, vector in sorted(became.vectors.items())] == [[8, 4], [9, 1]]


def test_little_of_a_backlog_is_padding() -> None:
    """64 texts of log-normal lengths, 44 in the mean, always wait: useful tokens by padded ones and the calls' own."""
    random = np.random.default_rng(0)
    lengths = np.exp(random.normal(np.log(44) - 0.32, 0.8, 3000)).astype(int).clip(3, 256).tolist()
    ring, useful, spent = Ring({"text": 1024}), 0, 0
    while lengths:
        while lengths and len(ring) < 64:
            ring.add(request(lengths.pop()))
        rows = [one.row.length for one in ring.take()]
        useful += sum(rows)
        spent += len(rows) * max(rows) + CALL_COST
    assert useful / spent >= 0.8  # measured 0.805


def test_a_guilty_text_fails_alone_and_the_first_error_ends_its_request() -> None:
    engine = FakeEngine()
    batcher = Batcher(engine, engine.clock)
    others = request(3, 3)
    guilty = Request({0: FakeRow(0, 3), 1: FakeRow(1, 3, guilty=True), 2: FakeRow(2, BUDGET)})
    lenient = Request({0: FakeRow(0, 3, guilty=True), 1: FakeRow(1, 4)}, keep_errors=True)
    for one in (others, guilty, lenient):
        batcher.submit(one)
    while batcher.step():
        pass
    assert (len(others.vectors), others.errors) == (2, {})
    assert [str(error) for error in guilty.errors.values()] == ["row 1 is guilty"]
    assert FakeRow(2, BUDGET) not in [row for call in engine.calls for row in call], "what waited was dropped"
    assert ([*lenient.errors], [*lenient.vectors]) == ([0], [1])


def test_a_vector_that_is_not_finite_is_an_error_of_its_text() -> None:
    class Broken(FakeEngine):
        def compute(self, rows):  # type: ignore[no-untyped-def]
            return [np.array([np.nan if row.number else 1.0], np.float32) for row in rows]

    batcher, both = Batcher(Broken()), Request({0: FakeRow(0, 3), 1: FakeRow(1, 3)}, keep_errors=True)
    batcher.submit(both)
    batcher.step()
    assert [*both.vectors] == [0]
    assert "not finite" in str(both.errors[1])


def test_the_wait_is_predicted_by_what_the_engine_did() -> None:
    clock, calls = Clock(), list[EngineCall]()
    batcher = Batcher(FakeEngine(clock), clock, calls.append)
    assert batcher.predicted_wait(1000) == 0, "nothing is known yet"
    for _ in range(30):
        batcher.submit(request(*[8] * 8))
        batcher.step()
    assert calls[-1] == (8, 64, 64, pytest.approx(0.09))
    for _ in range(10):
        batcher.submit(request(*[8] * 8))
    start, predicted = clock.now, batcher.predicted_wait()
    while batcher.step():
        pass
    assert 0.5 < predicted / (clock.now - start) < 1.5


def test_closing_tells_all_that_wait() -> None:
    told = list[str]()
    batcher, waiting = Batcher(FakeEngine()), request(3)
    waiting.on_done = lambda: told.append("waiting")
    batcher.submit(waiting)
    batcher.close()
    assert told == ["waiting"]
    assert "closed before its turn" in str(waiting.errors[0])
    with pytest.raises(Exception, match="was closed"):
        batcher.submit(request(1))
