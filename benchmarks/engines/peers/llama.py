"""llama.cpp: as a server of its own, and in this process through llama-cpp-python; settings are speed.gguf's."""

from __future__ import annotations

from benchmarks.engines import gguf
from benchmarks.engines.peers import Engine


def embed(model: str, threads: int) -> Engine:
    """Load a file with llama-cpp-python's own class, flash attention on, 2,048 tokens a batch."""
    return Engine(gguf.llama(model, threads))


def server(model: str, threads: int, binary: str) -> Engine:
    """Run llama-server, four slots as is its default; all texts in one request."""
    running = gguf.server(model, threads, binary)
    ask, pid = running.__enter__()
    return Engine(ask, pid, lambda: running.__exit__(None, None, None))
