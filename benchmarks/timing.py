"""Wall time and CPU time of calls, and the rounds in which engines take turns."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TypeVar

Key = TypeVar("Key")
Result = TypeVar("Result")


@dataclass(frozen=True)
class Seconds:
    """How long a call took. `cpu` counts every thread of the process, so two busy threads take two seconds a second."""

    wall: float
    cpu: float


def timed(call: Callable[[], Result], cpu_clock: Callable[[], float] = time.process_time) -> tuple[Result, Seconds]:
    """Call a function -> its result and the time it took."""
    wall, cpu = time.perf_counter(), cpu_clock()
    result = call()
    return result, Seconds(time.perf_counter() - wall, cpu_clock() - cpu)


def alternate(
    calls: Mapping[Key, Callable[[], Result]], rounds: int, warm_up: int = 1, rest: float = 0.0
) -> dict[Key, list[Result]]:
    """Make every call once a round, in the same order -> the results of each call, warming rounds left out.

    Engines take turns so that a change of the machine's speed meets all of them. `rest`: seconds between calls, in
    which one engine's spinning threads come to rest before the next begins.
    """
    results: dict[Key, list[Result]] = {key: [] for key in calls}
    for turn in range(warm_up + rounds):
        for key, call in calls.items():
            result = call()
            if turn >= warm_up:
                results[key].append(result)
            time.sleep(rest)
    return results


def median(samples: Iterable[Seconds]) -> Seconds:
    """Take the medians of wall time and of CPU time, each by itself."""
    samples = list(samples)
    return Seconds(statistics.median(s.wall for s in samples), statistics.median(s.cpu for s in samples))
