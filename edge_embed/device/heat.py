"""Whether the machine is as hot as it may get before it slows down."""

from __future__ import annotations

import itertools
import re
import sys
from pathlib import Path

from .pmset import pmset
from .sysfs import MOST, number, word

ROOT = Path("/")
# Degrees Celsius of a sensor that states no bound. Raspberry Pis slow down from 80 on and so hardly pass 85.
DEFAULT = 80.0
LEAST, MOST_DEGREES = 40.0, 130.0  # of a bound, or a temperature: broken sensors and unset bounds lie outside
SLOWS = ("passive", "hot")  # trip points at which the kernel, or the firmware, makes the processor slower
TRIPS = 16  # of a zone


def hot(root: Path = ROOT, margin: float = 0.0) -> str | None:
    """Name the first sensor that is at its own bound less `margin` degrees, and say how hot it is; None where none is.

    A bound is the lowest trip point at which the machine slows down. Nothing is known in most virtual machines.
    """
    if sys.platform == "darwin" and root == ROOT:
        return parse_pmset(pmset("therm"))
    for zone in itertools.islice(sorted((root / "sys/class/thermal").glob("thermal_zone*")), MOST):
        degrees = _degrees(zone / "temp")
        if degrees is not None and degrees <= MOST_DEGREES and degrees >= _bound(zone) - margin:
            return f"{word(zone / 'type') or zone.name} has {degrees:.0f} degrees Celsius"
    return None


def parse_pmset(told: str) -> str | None:
    """Read what macOS's `pmset -g therm` says; Apple's own processors tell a level, Intel's a limit of their speed.

    >>> parse_pmset("CPU_Scheduler_Limit \\t= 100\\nCPU_Speed_Limit \\t= 62")
    'the processor is slowed down to 62 %'
    """
    limit = re.search(r"CPU_Speed_Limit\s{0,8}=\s{0,8}(\d{1,3})", told)
    if limit is not None and int(limit[1]) < 100:
        return f"the processor is slowed down to {int(limit[1])} %"
    level = re.search(r"thermal warning level\D{0,20}(\d{1,3})", told, re.IGNORECASE)
    if level is not None and int(level[1]) > 0:
        return f"the thermal warning level is {int(level[1])}"
    return None


def _bound(zone: Path) -> float:
    trips = (n for n in range(TRIPS) if word(zone / f"trip_point_{n}_type") in SLOWS)
    found = [bound for n in trips if (bound := _degrees(zone / f"trip_point_{n}_temp")) is not None]
    return min((bound for bound in found if LEAST <= bound <= MOST_DEGREES), default=DEFAULT)


def _degrees(path: Path) -> float | None:
    thousandths = number(path)
    return None if thousandths is None else thousandths / 1000
