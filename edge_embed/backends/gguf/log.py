"""llama.cpp's log -> Python's `logging`, under the name `edge_embed.llama_cpp`; silent until a handler is set."""

from __future__ import annotations

import ctypes
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import llama_cpp

logger = logging.getLogger("edge_embed.llama_cpp")
logger.addHandler(logging.NullHandler())  # without it warnings would reach stderr by way of logging's last resort

LEVELS = {2: logging.INFO, 3: logging.WARNING, 4: logging.ERROR}  # ggml.h; what is not here is for debugging
_listeners: list[list[str]] = []


@contextmanager
def complaints() -> Iterator[list[str]]:
    """Collect what llama.cpp says at the levels of warnings and errors meanwhile, one line each."""
    llama_cpp.llama_log_set(_callback, ctypes.c_void_p(0))  # another user of the library may have set its own
    lines: list[str] = []
    _listeners.append(lines)
    try:
        yield lines
    finally:
        _listeners.remove(lines)


def last(lines: list[str]) -> str:
    """Write the last lines for the end of an error message."""
    return f"llama.cpp says: {' / '.join(lines[-3:])}" if lines else "llama.cpp does not say why"


def _receive(level: int, text: bytes, user_data: Any) -> None:
    line = text.decode("utf-8", "replace").strip()
    severity = LEVELS.get(level, logging.DEBUG)
    if not line.strip("."):  # progress dots
        return
    logger.log(severity, "%s", line)
    if severity >= logging.WARNING:
        for lines in _listeners:
            lines.append(line)


_callback = llama_cpp.llama_log_callback(_receive)  # C keeps the pointer: it must live as long as the module
