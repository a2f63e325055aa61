"""How far a long step has come: the code that works says it here, and whoever looks is shown it.

The storeys below print nothing. What becomes of their steps is decided here, and by the command line for its process.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal, Protocol

from .displays import Display, Lines, Notebook, Terminal, write
from .screen import can_redraw, one_line, paint
from .step import Step

Where = Literal["terminal", "everywhere", "nowhere"]
DELAY = 1.0  # seconds that a step may take before it is shown
OFF = ("HF_HUB_DISABLE_PROGRESS_BARS", "TQDM_DISABLE")  # variables by which others' bars are turned off

_terminal, _lines, _notebook = Terminal(), Lines(), Notebook()
_lock = threading.RLock()
_where: Where = "terminal"


class Advance(Protocol):
    """What a step is moved on by; threads may share it."""

    def __call__(self, count: int = 1) -> object:
        """Say that so much more is done."""


@contextmanager
def progress(
    what: str, total: int | None = None, unit: str = "", *, done: int = 0, show: bool | None = None
) -> Iterator[Advance]:
    """Give what to call with how much more of a step is done, while the body takes it.

    `done` was done before. With `show` None a step is shown where someone looks, if it takes longer than a second; with
    True at once and anywhere, and a line of it stays; with False nowhere.

    >>> with progress("hashing model.onnx", total=12, unit="B") as step:
    ...     step(len(b"twelve bytes"))
    """
    display = _display(show)
    if display is None:
        yield lambda count=1: None
        return
    now = Step(what, total, unit, done, delay=0.0 if show else DELAY, kept=bool(show))

    def move(count: int = 1) -> None:
        with _lock:
            now.done += count
            display.moved(now)

    with _lock:
        display.begin(now)
    try:
        yield move
    finally:
        with _lock:
            display.end(now)


@contextmanager
def shown(where: Where) -> Iterator[None]:
    """Show this process's steps on a terminal alone, in lines elsewhere too, or nowhere, while the body runs."""
    global _where
    before, _where = _where, where
    try:
        yield
    finally:
        _where = before


def tell(line: str, label: str = "", colour: str = "dim") -> None:
    """Print one line for people on standard error, above what is drawn there; nothing where nothing is to be shown.

    `label` stands before it, on a terminal in a colour.
    """
    if _where != "nowhere":
        clear()
        write(f"{paint(label, colour, sys.stderr) if label else ''}{one_line(line)}\n")


def clear() -> None:
    """Clear the line that is drawn on the terminal, before something else is printed there."""
    with _lock:
        _terminal.clear()


def _display(show: bool | None) -> Display | None:
    if show is False or _where == "nowhere":
        return None
    if show is None and any(os.environ.get(name, "").lower() in ("1", "on", "true", "yes") for name in OFF):
        return None
    if "ipykernel" in sys.modules:  # a notebook, whose standard error is no terminal
        return _notebook
    if can_redraw(sys.stderr):
        return _terminal
    return _lines if show or _where == "everywhere" else None
