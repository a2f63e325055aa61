"""Weights that ONNX Runtime has copied into the order of its kernels: give the pages of their file back. Linux only.

Of int4 it keeps every scale three times: twice in its copy and once in the mapped file, which is never read again. In
the shape of Llama-3-8B that is 0.87 GB. What is read again after all, such as an embedding table, comes from the file.
"""

from __future__ import annotations

import ctypes
import re
import sys
from pathlib import Path

MAPS = Path("/proc/self/smaps")
SPAN = re.compile(r"(?P<start>[0-9a-f]+)-(?P<end>[0-9a-f]+) \S+ \S+ \S+ \d+ *(?P<name>.*)")  # no name: no file
WRITTEN = re.compile(r"Anonymous: +(?P<size>\d+) kB")  # pages of a mapping that are no longer the file's
DONTNEED = 4  # madvise: drop the pages, which a read brings back from the file


def drop_mapped(graph: Path) -> int:
    """Drop the resident pages of the graph's data files, which lie beside it, and return how many bytes they span.

    A mapping with pages that were written to is let be: what was written would be lost.
    """
    if not sys.platform.startswith("linux"):
        return 0
    files = {str(path.resolve()) for path in graph.parent.glob(f"{graph.name}?*")}
    dropped, here = 0, None
    for line in MAPS.read_text("utf-8", "surrogateescape").splitlines():
        if found := SPAN.fullmatch(line):
            here = found if found["name"] in files else None
        elif here and (written := WRITTEN.fullmatch(line)) and int(written["size"]) == 0:
            start, end = int(here["start"], 16), int(here["end"], 16)
            if ctypes.CDLL(None).madvise(ctypes.c_void_p(start), ctypes.c_size_t(end - start), DONTNEED) == 0:
                dropped += end - start
    return dropped
