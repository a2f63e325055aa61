"""The time of the campaigns in tests/faults/: short, or as many seconds as EDGE_EMBED_FAULTS says."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterable
from pathlib import Path

VARIABLE = "EDGE_EMBED_FAULTS"
DEFAULT = 60.0  # seconds of the whole folder


def seconds(share: float, default: float | None = None) -> float:
    """Return how long a test may take whose part of the folder's time is `share`.

    `default` is for a test that takes another time where the variable says none.
    """
    if default is not None and not os.environ.get(VARIABLE):
        return default
    return share * float(os.environ.get(VARIABLE) or DEFAULT)


def long() -> bool:
    """Whether this is a long run, whose seeds are drawn anew."""
    return bool(os.environ.get(VARIABLE))


def run_campaigns(
    campaign: Callable[[Path, str, float, int], tuple[int, list[str]]], known: Iterable[str], argv: list[str]
) -> None:
    """Run all campaigns of a program, or those that are named, and print as JSON what each tried and found."""
    samples, seconds, seed, *kinds = argv
    kinds = kinds or [*known]
    found = {}
    for kind in kinds:
        tried, faults = campaign(Path(samples), kind, float(seconds) / len(kinds), int(seed))
        found[kind] = {"tried": tried, "faults": faults}
    json.dump(found, sys.stdout)
