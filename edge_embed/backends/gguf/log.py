"""llama.cpp's log -> Python's `logging`, under the name `edge_embed.llama_cpp`; silent until a handler is set.

It is the only place where llama.cpp says why something failed. The log is the process's: what other threads make
llama.cpp say meanwhile is captured as well.
"""

from __future__ import annotations

import ctypes
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from .runtime import llama_cpp

logger = logging.getLogger("edge_embed.llama_cpp")
logger.addHandler(logging.NullHandler())  # without it warnings would reach stderr by way of logging's last resort

LEVELS = {2: logging.INFO, 3: logging.WARNING, 4: logging.ERROR}  # ggml.h; what is not here is for debugging
_listeners: dict[object, Callable[[int, str], object]] = {}


@contextmanager
def listening(listener: Callable[[int, str], object]) -> Iterator[None]:
    """Pass every piece of the log to `listener(severity, text)`; a piece need not be a whole line."""
    llama_cpp.llama_log_set(_callback, ctypes.c_void_p(0))  # another user of the library may have set its own
    key = object()  # listeners of two threads may be equal
    _listeners[key] = listener
    try:
        yield
    finally:
        del _listeners[key]


@contextmanager
def captured_warnings() -> Iterator[list[str]]:
    """Collect the lines that llama.cpp logs as warnings and errors."""
    lines: list[str] = []

    def collect(severity: int, text: str) -> None:
        if severity >= logging.WARNING and text.strip().strip("."):
            lines.append(text.strip())

    with listening(collect):
        yield lines


def last(lines: list[str]) -> str:
    """Write the last lines for the end of an error message."""
    return f"llama.cpp says: {' / '.join(lines[-3:])}" if lines else "llama.cpp does not say why"


def _receive(level: int, data: bytes, user_data: Any) -> None:
    text, severity = data.decode("utf-8", "replace"), LEVELS.get(level, logging.DEBUG)
    if text.strip().strip("."):  # no progress dots
        logger.log(severity, "%s", text.strip())
    for listener in tuple(_listeners.values()):
        listener(severity, text)


_callback = llama_cpp.llama_log_callback(_receive)  # C keeps the pointer: it must live as long as the module
