"""Campaigns of kills: how many there are to be, how many there were, and of what."""

from __future__ import annotations

import os
import random
import signal
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from .faults import long, seconds

VARIABLE = "EDGE_EMBED_KILLS"  # how many each campaign makes, instead of a time
SOONER, LATER = 0.7, 1.1  # what a miss, or a hit, makes of the time before the next: machines get busy and idle again
TOLD = 20.0  # seconds between two counts of one that goes on
IDLE = 10  # rounds in a row without a kill, after which a campaign hits nothing any more


class Kills:
    """The kills of one campaign; one counts only where the process was alive when it was hit."""

    def __init__(self, name: str, few: int, share: float, usual: float = 1.0) -> None:
        """`usual` is how many seconds the processes run that are to be killed, to begin with."""
        self._name, self._counts, self._usual = name, Counter[str](), usual
        asked = os.environ.get(VARIABLE)
        self._number = int(asked) if asked else None if long() else few
        self._began = self._told = time.monotonic()
        self._end = self._began + seconds(share)
        self._before: Any = None

    def __enter__(self) -> Self:
        """Begin; a polite end, such as that of `timeout`, is from now on one at which the count is told."""
        if threading.current_thread() is threading.main_thread():
            self._before = signal.signal(signal.SIGTERM, signal.default_int_handler)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Tell the count, whatever ended the campaign."""
        if self._before is not None:
            signal.signal(signal.SIGTERM, self._before)
        print(f"\n{self}, {'all equal' if kind is None else 'then cut short'}, in {self.minutes:.1f} minutes")

    @property
    def minutes(self) -> float:
        """How long the campaign has taken."""
        return (time.monotonic() - self._began) / 60

    def rounds(self) -> Iterator[random.Random]:
        """Yield a source of chance for each round of kills, until there were enough."""
        number, idle = 0, 0
        while not self.enough:
            before = self._counts.total()
            yield random.Random(time.time_ns() if long() or VARIABLE in os.environ else number)
            number += 1
            idle = 0 if self._counts.total() > before else idle + 1
            assert idle < IDLE, f"{self} in {number} rounds: the processes end before they are hit"

    def pause(self, turn: random.Random) -> None:
        """Wait for the moment of a kill: anywhere in the time that processes have taken lately."""
        time.sleep(turn.uniform(0, self._usual))

    @property
    def enough(self) -> bool:
        """Whether all that were asked for have been made."""
        if self._number is not None:
            return self._counts.total() >= self._number
        return time.monotonic() >= self._end

    def ended(self, what: str, code: int) -> bool:
        """Count a process that was to be killed, by the status with which it ended; whether it was alive until then."""
        return self.count(what, code == -signal.SIGKILL)

    def hit(self, what: str, process: int) -> bool:
        """Kill a process that somebody else waits for, if it lives, and count that."""
        alive = is_alive(process)
        if alive:
            os.kill(process, signal.SIGKILL)
        return self.count(what, alive)

    def count(self, what: str, alive: bool) -> bool:
        """Count a kill unless it came too late."""
        self._counts[what] += alive
        self._usual *= LATER if alive else SOONER
        if time.monotonic() - self._told >= TOLD:
            self._told = time.monotonic()
            print(f"\n{self} so far, in {self.minutes:.1f} minutes", file=sys.stderr)
        return alive

    def __str__(self) -> str:
        of = ", ".join(f"{count} {what}" for what, count in sorted(self._counts.items()) if count)
        return f"{self._name}: {self._counts.total()} kills ({of})"


def is_alive(process: int) -> bool:
    """Whether a process runs: one that has ended and is not waited for yet does not."""
    fields = _stat(process)
    return bool(fields) and fields[0] not in "ZX"


def children(process: int) -> list[int]:
    """List the processes that one has started; none where the system does not tell."""
    paths = Path("/proc").glob("[0-9]*")
    return [int(path.name) for path in paths if _stat(int(path.name))[1:2] == [str(process)]]


def descendants(process: int) -> list[int]:
    """List the processes that one has started, and those that these have."""
    found, todo = list[int](), [process]
    while todo:
        found += (below := children(todo.pop()))
        todo += below
    return found


def command(process: int) -> str:
    """Return the words with which a process was started, or what it calls itself since; empty once it has ended."""
    try:
        return Path(f"/proc/{process}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    except OSError:
        return ""


def _stat(process: int) -> list[str]:
    """Return what the system tells of a process: its state, its parent, and more."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []
