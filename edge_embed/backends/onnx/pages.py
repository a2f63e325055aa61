"""The pages of weights that ONNX Runtime has copied into the order of its kernels. Linux only.

Of int4 it keeps every scale three times: twice in its copy and once in the mapped file, which is never read again. In
the shape of Llama-3-8B that is 0.87 GB. What is read again after all, such as an embedding table, comes from the file.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

from edge_embed.device.pages import release_pages
from edge_embed.formats.onnx import data_name

MAPS = Path("/proc/self/smaps")
SPAN = re.compile(r"(?P<start>[0-9a-f]+)-(?P<end>[0-9a-f]+) \S+ \S+ \S+ \d+ *(?P<name>.*)")  # no name: no file
WRITTEN = re.compile(r"Anonymous: +(?P<size>\d+) kB")  # pages of a mapping that are no longer the file's


def drop_mapped(graph: Path) -> int:
    """Drop the resident pages of the graph's data files, which lie beside it, and return how many bytes they span.

    A mapping with pages that were written to is let be: what was written would be lost.
    """
    if not sys.platform.startswith("linux"):
        return 0
    files = {str(path.resolve()) for path in graph.parent.glob(f"{data_name(graph.name)}?*")}
    dropped, mapping = 0, None
    try:
        lines = MAPS.read_text("utf-8", "surrogateescape").splitlines()
    except OSError:  # a kernel without it, or a sandbox: the pages stay
        return 0
    for line in lines:
        if not line.endswith(" kB") and (found := SPAN.fullmatch(line)):  # most lines are numbers, thousands of them
            mapping = found if found["name"] in files else None
        elif mapping and (written := WRITTEN.fullmatch(line)) and int(written["size"]) == 0:
            start, end = int(mapping["start"], 16), int(mapping["end"], 16)
            dropped += release_pages(start, end - start)
    return dropped
