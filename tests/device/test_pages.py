"""What is given back to the system: in a process of its own, since heaps are the whole process's."""

from __future__ import annotations

import subprocess
import sys

import pytest

from support.places import ROOT

PROGRAM = """
import threading
from pathlib import Path
from edge_embed.device.pages import limit_heaps, trim_heap

def resident():
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmRSS:")[1].split()[0]) >> 10

assert limit_heaps(1)
small = [bytes(1000) for _ in range(200_000)]
kept = small[-1]
before = resident()
del small
trim_heap()
print(before - resident())
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc's heaps")
def test_what_was_freed_goes_back() -> None:
    import platform

    if platform.libc_ver()[0] != "glibc":
        pytest.skip("another C library")
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, cwd=ROOT, check=True)
    assert int(done.stdout) > 100  # of about 190 MB
