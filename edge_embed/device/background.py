"""Waiting while the machine is wanted for something else, is hot, or runs down its battery."""

from __future__ import annotations

import contextlib
import logging
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path

from edge_embed.errors import InputError

from .battery import charge
from .heat import hot

LOOK, WAIT = 5.0, 10.0  # seconds between two looks, and before one who waits looks again
BUSY = 0.5  # CPUs that others use
COOLER = 5.0  # degrees below a sensor's bound, before what waited goes on
BATTERY_BELOW = 40  # per cent
ROOT = Path("/")
logger = logging.getLogger(__name__)


def check_battery(battery_below: int) -> None:
    """Raise InputError for what is no per cent."""
    if not 0 <= battery_below <= 100:
        raise InputError(f"battery_below={battery_below} must be from 0, which never waits, to 100")


class Background:
    """Say when there is room for work that can wait; for all threads of a process.

    There is none while others use more than half a CPU, while a sensor is at the bound from which the machine slows
    down, and while it runs on a battery with less than `battery_below` per cent.
    """

    def __init__(
        self,
        battery_below: int = BATTERY_BELOW,
        root: Path = ROOT,
        sleep: Callable[[float], object] | None = None,
    ) -> None:
        self._battery_below, self._root = battery_below, root
        self._stopped, self._lock = threading.Event(), threading.Lock()
        self._sleep = sleep or self._stopped.wait
        self._looked = time.monotonic()
        self._before = self._used()

    def wait(self) -> None:
        """Return when there is room, or after `stop`; looks every few seconds only."""
        with self._lock:
            if time.monotonic() - self._looked < LOOK:
                return
            waited = False
            while not self._stopped.is_set() and (reason := self.reason(waited)):
                if not waited:
                    logger.info("waiting: %s", reason)
                waited = True
                self._sleep(WAIT)

    def stop(self) -> None:
        """Let those go on who wait, and nobody wait any more."""
        self._stopped.set()

    def reason(self, waited: bool = False) -> str | None:
        """Say why there is no room; None where there is. Counts what others did since the last look.

        What `waited` until now goes on when a hot sensor is somewhat cooler than the bound at which it stopped.
        """
        before, seconds = self._before, max(1e-3, time.monotonic() - self._looked)
        self._looked, self._before = time.monotonic(), self._used()
        left = charge(self._root)
        if left is not None and left < self._battery_below:
            return f"the battery has {left:.0f} %, less than {self._battery_below}"
        if sensor := hot(self._root, COOLER if waited else 0.0):
            return sensor
        if before is None or self._before is None:
            return "others use the processor" if self._load() > BUSY + 1 else None
        used = (self._before - before) / seconds
        return f"others use {used:.1f} CPUs" if used > BUSY else None

    def _used(self) -> float | None:
        """Return the seconds of CPU that all but this job's processes have used since the start of the machine."""
        try:
            first = (self._root / "proc/stat").read_text("ascii").splitlines()[0].split()[1:9]
            user, nice, system, _, _, irq, soft, _ = map(int, first)
            ticks = os.sysconf("SC_CLK_TCK")
        except (OSError, ValueError, IndexError, AttributeError):
            return None
        return (user + nice + system + irq + soft) / ticks - self._own()

    def _own(self) -> float:
        """Return the seconds of CPU of this process and of the others of its group, which are the job's workers."""
        total, group = 0, os.getpgrp()
        for path in (self._root / "proc").glob("[0-9]*/stat"):
            with contextlib.suppress(OSError, ValueError, IndexError):
                fields = path.read_text("utf-8", errors="replace").rpartition(")")[2].split()
                total += sum(map(int, fields[11:13])) if int(fields[2]) == group else 0
        return total / os.sysconf("SC_CLK_TCK")

    def _load(self) -> float:
        try:
            return os.getloadavg()[0]
        except (OSError, AttributeError):
            return 0.0
