"""How much is left of a battery that is being used up."""

from __future__ import annotations

import itertools
import re
import sys
from pathlib import Path

from .pmset import pmset
from .sysfs import MOST, number, word

ROOT = Path("/")


def charge(root: Path = ROOT) -> float | None:
    """Return the per cent that are left, the mean of several batteries; None on mains, and where nothing is known.

    0 where a battery is being used up and does not tell how full it is.
    """
    if sys.platform == "darwin" and root == ROOT:
        return parse_pmset(pmset("batt"))
    found = []
    draining = False
    for folder in itertools.islice((root / "sys/class/power_supply").glob("*"), MOST):
        state = word(folder / "status")
        if not state or word(folder / "scope") == "Device":  # mains, and the battery of a mouse
            continue
        draining = draining or state == "Discharging"
        left = _left(folder)
        if left is not None:
            found.append(left)
    if not draining:
        return None
    return sum(found) / len(found) if found else 0.0


def parse_pmset(told: str) -> float | None:
    """Read what macOS's `pmset -g batt` says.

    >>> parse_pmset("Now drawing from 'Battery Power'\\n -InternalBattery-0 (id=1)\\t62%; discharging; 3:14 remaining")
    62.0
    """
    if "Battery Power" not in told:
        return None
    levels = [min(100.0, float(level)) for level in re.findall(r"(\d{1,3})%", told)]
    return sum(levels) / len(levels) if levels else 0.0


def _left(folder: Path) -> float | None:
    """Return how full a battery is, by what it says or by what it holds of what it can hold."""
    capacity = number(folder / "capacity")
    if capacity is not None and 0 <= capacity <= 100:
        return float(capacity)
    for kind in ("energy", "charge"):
        now, full = number(folder / f"{kind}_now"), number(folder / f"{kind}_full")
        if now is not None and full is not None and 0 <= now <= full and full:
            return 100 * now / full
    return None
