"""The campaign of parsers.py with hypothesis making every choice of what spoils a file, so that a fault is made small.

    python tests/faults/shrinking.py SAMPLES SECONDS SEED [KIND ...]

It tries fewer files than parsers.py does, and tells the shortest content, by the fewest changes, that it found.
"""

from __future__ import annotations

import random
import signal
import sys
from pathlib import Path

import hypothesis
from hypothesis import strategies
from parsers import KINDS, SECONDS, fault_of, note_of, whole

from support.faults import run_campaigns
from support.limited import run_limited

EXAMPLES = 25  # files of one run of hypothesis
SHOWN = 800  # bytes of a file that is told
SETTINGS = hypothesis.settings(
    max_examples=EXAMPLES,
    database=None,
    deadline=None,  # CPU time is limited, of which the system ends the process
    suppress_health_check=[*hypothesis.HealthCheck],
    phases=[hypothesis.Phase.generate, hypothesis.Phase.shrink],
)


def campaign(samples: Path, kind: str, seconds: float, seed: int) -> tuple[int, list[str]]:
    """Spoil one kind of file for so many seconds."""
    _, spoil, read = KINDS[kind]
    with whole(samples, kind) as path:
        data = path.read_bytes()

        def attempt(n: int) -> str | None:
            tried: list[bytes] = []

            @hypothesis.seed(f"{kind} {seed} {n}")
            @SETTINGS
            @hypothesis.given(strategies.randoms(use_true_random=False))
            def holds(rng: random.Random) -> None:
                tried[:] = [spoil(data, rng)]
                signal.setitimer(signal.ITIMER_PROF, SECONDS)
                fault = fault_of(read, path, tried[0])
                signal.setitimer(signal.ITIMER_PROF, 60 * SECONDS)  # for hypothesis's own work
                assert fault is None, fault

            try:
                holds()
            except AssertionError as error:  # the last that was tried is the smallest
                return f"{tried[0][:SHOWN]!r}: {error!s:.2000}"
            return None

        runs, faults = run_limited(attempt, seconds, note_of(path), 60 * SECONDS)
        return runs * EXAMPLES, faults


if __name__ == "__main__":
    run_campaigns(campaign, KINDS, sys.argv[1:])
