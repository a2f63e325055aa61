"""What llama.cpp's output buffer takes of this machine's memory, and how to give unused pages back. Linux only."""

from __future__ import annotations

import ctypes
import mmap
import sys
from pathlib import Path

from ..errors import OutOfMemoryError

MEMINFO = Path("/proc/meminfo")
WORTH = 1 << 20  # bytes; less is not worth a system call
DONTNEED = 4  # madvise: drop the pages, private memory reads as zero after


def check_room(size: int, tokens: int, meminfo: Path = MEMINFO) -> None:
    """Raise OutOfMemoryError when so many bytes would send the system looking for a process to kill."""
    available = _available(meminfo)
    if available is not None and size > available:
        raise OutOfMemoryError(
            f"{tokens} tokens at once need {size >> 20:,} MB for llama.cpp's output buffer, {available >> 20:,} MB are "
            "free: pass a smaller max_tokens or batch_tokens, or use ONNX weights"
        )


def _available(meminfo: Path) -> int | None:
    """Read how many bytes can be taken without swapping; None where the system does not say."""
    try:
        lines = meminfo.read_text().splitlines()
    except OSError:
        return None
    found = [line.split() for line in lines if line.startswith("MemAvailable:")]
    return int(found[0][1]) * 1024 if found else None


def give_back(address: int, size: int) -> None:
    """Drop the whole pages of memory whose contents nobody needs; it stays allocated."""
    start = -(-address // mmap.PAGESIZE) * mmap.PAGESIZE
    length = (address + size - start) // mmap.PAGESIZE * mmap.PAGESIZE
    if sys.platform == "linux" and length >= WORTH:
        ctypes.CDLL(None).madvise(ctypes.c_void_p(start), ctypes.c_size_t(length), DONTNEED)
