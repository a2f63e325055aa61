"""Children that try things one after another within limits of time and memory."""

from __future__ import annotations

import contextlib
import os
import pickle
import resource
import signal
import time
import traceback
from collections.abc import Callable
from pathlib import Path

MEMORY = 6 << 30  # bytes of addresses, of which MLX and ONNX Runtime map a good deal without using it


def run_limited(
    attempt: Callable[[int], str | None], budget: float, note: Path, seconds: float = 5.0
) -> tuple[int, list[str]]:
    """Call attempt(0), attempt(1), ... in forked children for `budget` seconds -> how many were tried, and the faults.

    An attempt returns a fault, or None. One that takes more than `seconds` of CPU time, or ends its child, is a fault.
    """
    tried, faults, until = 0, [], time.monotonic() + budget
    while time.monotonic() < until and len(faults) < 10:
        child = os.fork()
        if child == 0:
            _work(attempt, tried, until, note, seconds)
        _, status = os.waitpid(child, 0)
        tried, found = pickle.loads(note.read_bytes())
        if os.WIFSIGNALED(status) or os.WEXITSTATUS(status):
            ended = signal.Signals(os.WTERMSIG(status)).name if os.WIFSIGNALED(status) else f"exit {status >> 8}"
            found = found or f"the process ended by {ended}"
        if found:
            faults.append(f"{tried}: {found}")
        tried += 1
    return tried, faults


def _work(attempt: Callable[[int], str | None], first: int, until: float, note: Path, seconds: float) -> None:
    """Try until time is up or a fault is found; what is going on is noted beforehand."""
    with contextlib.suppress(ValueError):
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    quiet = os.open(os.devnull, os.O_WRONLY)
    os.dup2(quiet, 1)
    os.dup2(quiet, 2)
    n, found = first, None
    try:
        while time.monotonic() < until and found is None:
            note.write_bytes(pickle.dumps((n, None)))
            signal.setitimer(signal.ITIMER_PROF, seconds)  # SIGPROF, which ends the process
            found = attempt(n)
            n += 1
    except BaseException:  # nothing of the parent's is to be unwound here, such as its temporary folder
        n, found = n + 1, traceback.format_exc()[-1500:]
    note.write_bytes(pickle.dumps((n - 1, found)))
    os._exit(0)
