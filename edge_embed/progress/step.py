"""One long step: how much of it is done, how fast it goes, and how long it will take."""

from __future__ import annotations

import time
from collections import deque
from dataclasses import dataclass, field

from .screen import one_line

WINDOW = 10.0  # seconds over which speed is measured
SCALES = ((1e12, "TB"), (1e9, "GB"), (1e6, "MB"), (1e3, "kB"))


@dataclass
class Step:
    """What is done, of how much (None: nobody knows), in which unit; `B` stands for bytes.

    `delay` is how many seconds it may take before it is shown, `kept` whether a line of it stays at the end.
    """

    what: str
    total: int | None
    unit: str
    done: int = 0
    delay: float = 0.0
    kept: bool = False
    started: float = field(default_factory=lambda: time.monotonic())
    shown: float = 0.0  # when it was shown last
    _seen: deque[tuple[float, int]] = field(default_factory=deque)

    def __post_init__(self) -> None:
        self.what = one_line(self.what)
        self._seen.append((self.started, self.done))

    def look(self, now: float) -> None:
        """Note how much is done now, for the speed."""
        self._seen.append((now, self.done))
        while len(self._seen) > 2 and now - self._seen[1][0] > WINDOW:
            self._seen.popleft()

    @property
    def fraction(self) -> float | None:
        """How much is done, 0 to 1; None where the total is not known."""
        return min(1.0, self.done / self.total) if self.total else None

    def amount(self) -> str:
        """Say how much is done: `1.2 / 2.7 GB`, `30 / 400 texts`, `30 texts`."""
        if self.unit == "B":
            scale, unit = next((one for one in SCALES if max(self.total or 0, self.done) >= one[0]), (1, "B"))
            done, total = (f"{(n or 0) / scale:,.{0 if scale == 1 else 1}f}" for n in (self.done, self.total))
        else:
            done, total, unit = f"{self.done:,}", f"{self.total or 0:,}", self.unit
            if (self.total or self.done) == 1:
                unit = unit.removesuffix("s")
        return f"{done} / {total} {unit}".rstrip() if self.total else f"{done} {unit}".rstrip()

    def rate(self) -> str:
        """Say how fast it goes: `31.0 MB/s`, `52 texts/s`; nothing before that is known."""
        speed = self._speed()
        if not speed:
            return ""
        if self.unit == "B":
            scale, unit = next((one for one in SCALES if speed >= one[0]), (1, "B"))
            return f"{speed / scale:,.1f} {unit}/s"
        return f"{speed:,.{0 if speed >= 10 else 1}f} {self.unit}/s"

    def left(self) -> str:
        """Say how long it will take: `5 s left`; nothing where that cannot be known."""
        speed = self._speed()
        return f"{span((self.total - self.done) / speed)} left" if speed and self.total and self.done else ""

    def _speed(self) -> float:
        (then, before), (now, done) = self._seen[0], self._seen[-1]
        return (done - before) / (now - then) if now > then else 0.0


def span(seconds: float) -> str:
    """Write a time for people: `5 s`, `12 min`, `3 h 20 min`."""
    seconds = max(0.0, seconds)
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60:,} h {minutes % 60} min"
