"""The priority of a thread or of this process: the processor and the disks are others' first."""

from __future__ import annotations

import contextlib
import ctypes
import os
import platform
import sys

NICE = 10
# The number of ioprio_set, for which the C library has no function; of 64-bit systems, since no others are supported.
IOPRIO_SET = {"x86_64": 251, "aarch64": 30, "riscv64": 30, "loongarch64": 30, "ppc64le": 273, "s390x": 282}
IOPRIO_WHO_PROCESS = 1
# The last of the best-effort class. Of the idle class nothing is served while anyone else reads: whoever waits for a
# lock that a process in it holds, such as an index's, would wait as long.
LAST_BEST_EFFORT = 2 << 13 | 7
PRIO_DARWIN_THREAD, PRIO_DARWIN_PROCESS, PRIO_DARWIN_BG = 3, 4, 0x1000


def lower(whole: bool = False) -> None:
    """Let this thread, or with `whole` this process, come after others; what the system does not know is left out.

    Linux gives both to a thread and to those that it starts later. On macOS the thread is moved to the cores that save
    energy. For the thread's or the process's life: no user may raise it again.
    """
    if sys.platform == "darwin":
        with contextlib.suppress(OSError):
            os.setpriority(PRIO_DARWIN_PROCESS if whole else PRIO_DARWIN_THREAD, 0, PRIO_DARWIN_BG)
    elif hasattr(os, "setpriority"):  # Windows has none
        for thread in _threads() if whole else [0]:
            _lower(thread)


def _threads() -> list[int]:
    """List this process's threads; 0, the calling one, where the system does not tell."""
    with contextlib.suppress(OSError, ValueError):
        return [int(name) for name in os.listdir("/proc/self/task")]
    return [0]


def _lower(thread: int) -> None:
    """Lower one of Linux's threads, or of other systems the process."""
    with contextlib.suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, thread, max(NICE, os.getpriority(os.PRIO_PROCESS, thread)))
    call = IOPRIO_SET.get(platform.machine())
    if sys.platform == "linux" and call is not None:
        with contextlib.suppress(OSError, AttributeError):
            ctypes.CDLL(None).syscall(call, IOPRIO_WHO_PROCESS, thread, LAST_BEST_EFFORT)
