"""macOS's own word on power: `pmset -g`."""

from __future__ import annotations

import contextlib
import subprocess
from typing import Literal

LONGEST = 4096  # letters that are looked at


def pmset(about: Literal["batt", "therm"]) -> str:
    """Return what it says of the battery, or of the temperature; '' where it cannot be run."""
    with contextlib.suppress(OSError, subprocess.SubprocessError):
        told = subprocess.run(["pmset", "-g", about], capture_output=True, text=True, timeout=5, check=True).stdout
        return told[:LONGEST]
    return ""
