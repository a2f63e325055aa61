"""llama.cpp, imported here and nowhere else, so that how long its threads spin is set before its library loads.

Builds with OpenMP, as those of Linux are, wait in GCC's libgomp: a thread that is done with an operation turns 300,000
times in a loop before it sleeps, which takes milliseconds, and llama.cpp waits after every operation. libgomp reads its
variables once, while it loads; whoever has set one keeps their choice, and processes that this one starts see none.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

CHOICES = ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY")  # either says how long to spin
SPIN = {"GOMP_SPINCOUNT": "1000"}


@contextmanager
def spinning(settings: Mapping[str, str]) -> Iterator[None]:
    """Set the variables while a library loads, unless the environment has a choice of its own."""
    added = {} if any(name in os.environ for name in CHOICES) else settings
    os.environ.update(added)
    try:
        yield
    finally:
        for name in added:
            os.environ.pop(name, None)


with spinning(SPIN):
    import llama_cpp
    from llama_cpp._ctypes_extensions import load_shared_library

__all__ = ["llama_cpp", "load_shared_library"]
