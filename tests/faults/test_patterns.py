"""No regular expression of ours takes more than a time in proportion to a text that somebody else chose."""

from __future__ import annotations

import json
import resource
import subprocess
import sys
from pathlib import Path

from support import faults
from support.places import ROOT

CPU = 120  # seconds, of which the child needs some ten
CHILD = Path(__file__).with_name("all_patterns.py")


def test_no_pattern_takes_a_time_that_grows_faster_than_the_text() -> None:
    """In a child that the system ends if one never returns, by the CPU time that it counts itself."""
    child = subprocess.run(
        [sys.executable, CHILD, *(["long"] if faults.long() else [])],
        env={"PYTHONPATH": str(ROOT), "PATH": ""},
        capture_output=True,
        text=True,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_CPU, (CPU, CPU)),
    )
    assert child.returncode == 0, child.stderr[-2000:]
    found = json.loads(child.stdout)
    assert found["patterns"] > 20
    assert not found["slow"]
