"""The batcher's invariants, whatever comes, leaves and fails in any order: a state machine with a virtual clock."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field

import numpy as np
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from edge_embed.batching.batcher import Batcher
from edge_embed.batching.request import Request

from support.engine import BUDGET, Clock, FakeEngine, FakeRow, vector_of

LENGTHS = st.lists(st.integers(1, 2 * BUDGET), min_size=1, max_size=30)


@dataclass(eq=False)
class Caller:
    """A request, what it asked for, and what it was promised when it came."""

    request: Request
    rows: list[FakeRow]
    turns_by: int  # the engine's call by which its next turn comes
    told: int = 0
    gone: bool = False
    first: dict[int, int] = field(default_factory=dict)


class Turns(RuleBasedStateMachine):
    """Callers come, leave and get their vectors; each engine call is one step."""

    def __init__(self) -> None:
        super().__init__()
        self.clock = Clock()
        self.engine = FakeEngine(self.clock)
        self.batcher = Batcher(self.engine, self.clock)
        self.callers: list[Caller] = []
        self.numbers = itertools.count()
        self.steps = 0

    @rule(lengths=LENGTHS, guilty=st.integers(0, 200), keep=st.booleans())
    def arrive(self, lengths: list[int], guilty: int, keep: bool) -> None:
        rows = [FakeRow(next(self.numbers), length, guilty == n) for n, length in enumerate(lengths)]
        waiting = self.batcher.queued().requests
        caller = Caller(Request(dict(enumerate(rows)), keep_errors=keep), rows, self.steps + waiting + 1)
        caller.request.on_done = lambda: setattr(caller, "told", caller.told + 1)
        self.callers.append(caller)
        self.batcher.submit(caller.request)

    @precondition(lambda self: any(not caller.request.ended for caller in self.callers))
    @rule(data=st.data())
    def leave(self, data: st.DataObject) -> None:
        waiting = [caller for caller in self.callers if not caller.request.ended]
        caller = data.draw(st.sampled_from(waiting), label="who leaves")
        caller.gone = True
        before = self.batcher.abandoned, len(caller.request.waiting)
        self.batcher.cancel(caller.request)
        assert self.batcher.abandoned == sum(before)

    @precondition(lambda self: self.batcher.queued().requests)
    @rule()
    def step(self) -> None:
        head = next(iter(self.batcher._ring))
        row = next(iter(head.waiting.values()))
        calls = len(self.engine.calls)
        assert self.batcher.step(), "the engine is free and something waits"
        self.steps += 1
        together = self.engine.calls[calls]  # after it, where it failed, come its rows one by one
        assert row in together, "a call holds the next text of the request at the head"
        assert len(together) * max(one.length for one in together) <= BUDGET or len(together) == 1
        gone = {one.number for caller in self.callers if caller.gone for one in caller.rows}
        assert gone.isdisjoint(one.number for one in together), "nothing is computed for who has left"
        for caller in self.callers:
            if caller.request is head:
                caller.turns_by = self.steps + self.batcher.queued().requests
            elif not caller.request.ended and caller.request.waiting:
                assert self.steps < caller.turns_by, "its turn has come within as many calls as stood before it"

    @invariant()
    def everyone_has_its_own(self) -> None:
        for caller in self.callers:
            request = caller.request
            for position, vector in request.vectors.items():
                np.testing.assert_array_equal(vector, vector_of(caller.rows[position]))
            assert all(caller.rows[position].guilty for position in request.errors), "only the guilty text fails"
            assert caller.told == (request.ended and not caller.gone)
            if caller.told and not request.errors:
                assert [*sorted(request.vectors)] == [*range(len(caller.rows))]
            if caller.told and request.keep_errors:
                assert len(request.vectors) + len(request.errors) == len(caller.rows)

    @invariant()
    def counters_count(self) -> None:
        open_ones = [caller.request for caller in self.callers if caller.request.waiting]
        rows = [row for request in open_ones for row in request.waiting.values()]
        queued = self.batcher.queued()
        assert (queued.requests, queued.texts) == (len(open_ones), len(rows))
        assert queued.tokens == sum(row.length for row in rows)

    def teardown(self) -> None:
        while self.batcher.step():
            pass
        assert self.batcher.queued() == (0, 0, 0)
        assert all(caller.request.ended for caller in self.callers)


TestTurns = Turns.TestCase
TestTurns.settings = settings(max_examples=30, stateful_step_count=40, deadline=None, derandomize=True)
