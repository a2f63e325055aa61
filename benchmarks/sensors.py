"""How hot a board is, how fast its processor runs, and whether its firmware has slowed it down: Linux' files, vcgencmd.

`root` is the file system to look in. What a machine does not tell is None.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import threading
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType

ROOT = Path("/")
SECONDS = 1.0  # between two readings
# The bits of `vcgencmd get_throttled`: what holds now, and 16 bits higher what has held since the start.
THROTTLED = ("under-voltage", "frequency capped", "throttled", "soft temperature limit")
SINCE_START = 16


def celsius(root: Path = ROOT) -> float | None:
    """Return the temperature of the hottest zone."""
    found = [value / 1000 for path in root.glob("sys/class/thermal/thermal_zone*/temp") if (value := _number(path))]
    return max(found, default=None)


def megahertz(root: Path = ROOT) -> float | None:
    """Return the frequency of the slowest group of cores."""
    paths = root.glob("sys/devices/system/cpu/cpufreq/policy*/scaling_cur_freq")
    return min((value / 1000 for path in paths if (value := _number(path))), default=None)


def throttled() -> list[str] | None:
    """Ask a Raspberry Pi's firmware what has slowed it down since it was started; nothing is an empty list."""
    program = shutil.which("vcgencmd")
    if program is None:
        return None
    done = subprocess.run([program, "get_throttled"], capture_output=True, text=True, check=False)
    return parse_throttled(done.stdout)


def parse_throttled(text: str) -> list[str] | None:
    """Read what vcgencmd prints.

    >>> parse_throttled("throttled=0x50000")
    ['under-voltage', 'throttled']
    """
    found = re.fullmatch(r"throttled=0x([0-9a-f]+)", text.strip(), re.I)
    if found is None:
        return None
    bits = int(found[1], 16)
    return [name for bit, name in enumerate(THROTTLED) if (bits | bits >> SINCE_START) >> bit & 1]


@dataclass
class Watch:
    """Reads the sensors every second while its block runs -> the first and the highest temperature, the least speed."""

    root: Path = ROOT
    start: float | None = None
    hottest: float | None = None
    slowest: float | None = None
    _ended: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None

    def __enter__(self) -> Watch:
        self.start = celsius(self.root)
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._ended.set()
        if self._thread is not None:
            self._thread.join()

    def _run(self) -> None:
        while True:
            heat, speed = celsius(self.root), megahertz(self.root)
            self.hottest = max((one for one in (self.hottest, heat) if one is not None), default=None)
            self.slowest = min((one for one in (self.slowest, speed) if one is not None), default=None)
            if self._ended.wait(SECONDS):
                return


def _number(path: Path) -> int | None:
    try:
        return int(path.read_text())
    except (OSError, ValueError):
        return None
