"""What llama.cpp takes of this machine's memory without need, and how to give it back. Linux only."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from edge_embed.device.pages import release_pages
from edge_embed.errors import OutOfMemoryError

MEMINFO = Path("/proc/meminfo")
MAPS = Path("/proc/self/maps")
RELEASES = 16  # how often, while a model is loaded, the pages that were read are given back


def check_memory(size: int, tokens: int, meminfo: Path = MEMINFO) -> None:
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


class MappedFiles:
    """Files that llama.cpp maps while it loads them; of most matrices it keeps a copy in another order (repacking).

    Their pages would stay beside the copies: v5-text-small's shape at Q4_K_M took 735 MB after a text, and takes 544.
    """

    def __init__(self, paths: Sequence[Path]) -> None:
        self._names = {os.path.realpath(path) for path in paths}
        self._ranges: list[tuple[int, int]] | None = None
        self._part = -1

    def release(self, progress: float) -> bool:
        """Give back the pages that were read so far; what is needed again comes from the system's cache of the file.

        `progress` of loading is 0 to 1. Returns True, by which llama.cpp goes on.
        """
        part = int(progress * RELEASES)
        if part != self._part:
            self._part = part
            if self._ranges is None:
                self._ranges = _ranges(self._names)
            for start, size in self._ranges:
                release_pages(start, size)
        return True


def _ranges(names: set[str]) -> list[tuple[int, int]]:
    """Return address and size of each part of memory that shows one of the files, unchanged."""
    try:
        lines = [line.split(maxsplit=5) for line in MAPS.read_text().splitlines()]
    except OSError:
        return []
    found = [fields[0].split("-") for fields in lines if fields[1] == "r--s" and fields[5:] and fields[5] in names]
    return [(int(start, 16), int(stop, 16) - int(start, 16)) for start, stop in found]
