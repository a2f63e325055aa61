"""Memory that a process holds and does not need: give its pages back to the system. Linux only."""

from __future__ import annotations

import ctypes
import mmap
import sys

ARENA_MAX = -8  # mallopt
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


def limit_heaps(count: int) -> bool:
    """Have all threads share so many heaps, and say whether that could be done; glibc only, for the whole process.

    It makes one for nearly every thread otherwise, each of which keeps what was freed in it.
    """
    set_option = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform.startswith("linux") else None
    return set_option is not None and bool(set_option(ARENA_MAX, count))


def trim_heap() -> bool:
    """Give back what the C library keeps of memory that was freed, and say whether there was any; glibc only.

    No heap shrinks by itself below what is still used at its end.
    """
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if sys.platform.startswith("linux") else None
    return trim is not None and bool(trim(0))
