"""The time of the campaigns in tests/faults/: short, or as many seconds as EDGE_EMBED_FAULTS says."""

from __future__ import annotations

import os

VARIABLE = "EDGE_EMBED_FAULTS"
DEFAULT = 60.0  # seconds of the whole folder


def seconds(share: float) -> float:
    """Return how long a test may take whose part of the folder's time is `share`."""
    return share * float(os.environ.get(VARIABLE) or DEFAULT)


def long() -> bool:
    """Whether this is a long run, whose seeds are drawn anew."""
    return bool(os.environ.get(VARIABLE))
