"""Waiting while the machine is wanted for something else, or runs on its battery."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from .settings import Execution

NICE = 10
LOOK, WAIT = 5.0, 10.0  # seconds between two looks, and before one who waits looks again
BUSY = 0.5  # CPUs that others use
ROOT = Path("/")


class Background:
    """Let a job be the last that gets the processor, and hold it while others use more than half a CPU."""

    def __init__(self, root: Path = ROOT, sleep: Callable[[float], object] = time.sleep) -> None:
        self._root, self._sleep = root, sleep
        self._looked = time.monotonic()
        self._before = self._used()
        with contextlib.suppress(OSError, AttributeError):  # Windows has none
            os.nice(max(0, NICE - os.nice(0)))

    def wait(self) -> None:
        """Return when the machine is free; looks every few seconds only."""
        if time.monotonic() - self._looked < LOOK:
            return
        while self.busy():
            self._sleep(WAIT)

    def busy(self) -> bool:
        """Whether the machine runs on its battery, or others have used more than half a CPU since the last look."""
        before, seconds = self._before, max(1e-3, time.monotonic() - self._looked)
        self._looked, self._before = time.monotonic(), self._used()
        if on_battery(self._root):
            return True
        if before is None or self._before is None:
            return self._load() > BUSY + 1
        return (self._before - before) / seconds > BUSY

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


def waiting(execution: Execution) -> Background | None:
    """Return what a job in the background waits by; None for one in the foreground."""
    return Background() if execution.workload == "background" else None


def on_battery(root: Path = ROOT) -> bool:
    """Whether a battery is being used up; False where there is none, or the system does not tell."""
    if sys.platform == "darwin" and root == ROOT:
        with contextlib.suppress(OSError, subprocess.SubprocessError):
            told = subprocess.run(["pmset", "-g", "batt"], capture_output=True, text=True, timeout=5, check=True)
            return "Battery Power" in told.stdout
    for path in (root / "sys/class/power_supply").glob("*/status"):
        with contextlib.suppress(OSError):
            if path.read_text("ascii", errors="replace").strip() == "Discharging":
                scope = path.with_name("scope")
                if not (scope.exists() and scope.read_text("ascii", errors="replace").strip() == "Device"):
                    return True  # not that of a mouse
    return False
