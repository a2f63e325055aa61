"""What llama.cpp says while it works, which is the only place where it says why it failed."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import llama_cpp


@contextmanager
def captured(heard: Callable[[str], object] = lambda text: None) -> Iterator[list[str]]:
    """Collect the log's pieces in the list that is given out, passing each to `heard`; then restore what was set.

    The log is the process's: what other threads make llama.cpp say meanwhile is collected as well.
    """
    pieces: list[str] = []

    @llama_cpp.llama_log_callback  # type: ignore[untyped-decorator]
    def keep(level: int, text: bytes, data: object) -> None:
        pieces.append(text.decode("utf-8", "replace"))
        heard(pieces[-1])

    before, data = llama_cpp.llama_log_callback(), ctypes.c_void_p()
    llama_cpp.llama_log_get(ctypes.byref(before), ctypes.byref(data))
    llama_cpp.llama_log_set(keep, ctypes.c_void_p())
    try:
        yield pieces
    finally:
        llama_cpp.llama_log_set(before, data)
