"""Memory that a process holds and does not need: give its pages back to the system. Linux only."""

from __future__ import annotations

import ctypes
import mmap
import sys

DONTNEED = 4  # madvise: drop the pages; private memory reads as zero after it, a mapped file's comes from the file


def release_pages(address: int, size: int) -> int:
    """Drop the whole pages within memory whose contents nobody needs, and return how many bytes they are.

    The memory stays allocated.
    """
    start = -(-address // mmap.PAGESIZE) * mmap.PAGESIZE
    length = (address + size - start) // mmap.PAGESIZE * mmap.PAGESIZE
    if not sys.platform.startswith("linux") or length <= 0:
        return 0
    failed = ctypes.CDLL(None).madvise(ctypes.c_void_p(start), ctypes.c_size_t(length), DONTNEED)
    return 0 if failed else length
