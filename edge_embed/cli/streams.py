"""Standard streams, closed, full or of another encoding, and SIGTERM: none of them is to end in a traceback."""

from __future__ import annotations

import contextlib
import io
import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from edge_embed.errors import InputError
from edge_embed.progress.screen import paint

TERMINATED = 143  # 128 and the signal's number, as shells have it


class Terminated(BaseException):
    """SIGTERM came; what is open is closed on the way out, and half-written files are removed."""


@contextmanager
def termination_raises() -> Iterator[None]:
    """Let SIGTERM unwind the program as Ctrl-C does, unless somebody else handles it."""
    if threading.current_thread() is not threading.main_thread() or signal.getsignal(signal.SIGTERM) != signal.SIG_DFL:
        yield
        return

    def terminate(number: int, frame: FrameType | None) -> None:
        raise Terminated

    signal.signal(signal.SIGTERM, terminate)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


def prepare() -> None:
    """Make the streams fit for any text, and take the places of closed ones, which a file would get instead."""
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # gets the lowest free number
    if sys.stderr is None:
        sys.stderr = open(os.devnull, "w")  # noqa: SIM115 - for as long as the process lives
    if isinstance(sys.stdout, io.TextIOWrapper):
        utf8 = sys.stdout.encoding.lower().replace("-", "") == "utf8"
        # Of what Python has as text, UTF-8 lacks only the names of files whose bytes are no UTF-8.
        sys.stdout.reconfigure(errors="surrogateescape" if utf8 else "backslashreplace")


def flush() -> None:
    """Write what was printed; raises OSError where that fails, InputError where standard output is closed."""
    if sys.stdout is None:
        raise InputError("standard output is closed, so nothing can be printed: open it, or send it to a file")
    sys.stdout.flush()


def discard_output() -> None:
    """Forget what was printed and not written: nobody reads it, and the interpreter would try again at its end."""
    with contextlib.suppress(OSError, ValueError, AttributeError):  # captured streams have no descriptor
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, sys.stdout.fileno())
        os.close(null)


def complain(message: str) -> int:
    """Print an error; return the exit code that goes with it."""
    with contextlib.suppress(OSError, ValueError):  # where standard error is full or closed the code alone tells
        print(f"{paint('edge-embed:', 'red', sys.stderr)} {message}", file=sys.stderr, flush=True)
    return 1


def standard_input() -> Iterator[str]:
    """Read lines of standard input, a pipe's or a file's as UTF-8; raise InputError where it is closed."""
    if sys.stdin is None:
        raise InputError("standard input is closed: give texts, or -f FILE")
    if isinstance(sys.stdin, io.TextIOWrapper):
        encoding = sys.stdin.encoding if sys.stdin.isatty() else "utf-8"
        sys.stdin.reconfigure(encoding=encoding, errors="surrogateescape")
    yield from sys.stdin
