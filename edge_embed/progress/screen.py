"""What a stream can show: lines that are drawn over, colours, and how many cells a text takes."""

from __future__ import annotations

import os
import sys
import unicodedata
from typing import TextIO

from edge_embed.errors import printable

ERASE = "\r\x1b[K"  # back to the line's beginning, and clear it
CODES = {"bold": 1, "dim": 2, "red": 31, "green": 32, "yellow": 33, "cyan": 36}
WIDTH = 80  # cells, where a stream does not tell
MORE = "..."


def can_redraw(stream: TextIO | None) -> bool:
    """Whether a stream is a terminal that obeys control sequences."""
    if stream is None or stream.closed or not stream.isatty():
        return False
    return os.environ.get("TERM") != "dumb" and (sys.platform != "win32" or "WT_SESSION" in os.environ)


def has_colours(stream: TextIO | None) -> bool:
    """Whether to colour what goes to a stream: a terminal's, unless NO_COLOR is set."""
    return can_redraw(stream) and not os.environ.get("NO_COLOR")


def paint(text: str, colour: str, stream: TextIO | None) -> str:
    """Return a text in a colour or a weight, such as `red` or `bold`; as it is where the stream has no colours."""
    return f"\x1b[{CODES[colour]}m{text}\x1b[0m" if has_colours(stream) else text


def width_of(stream: TextIO | None) -> int:
    """Return how many cells a line of a stream has."""
    try:
        assert stream is not None
        return os.get_terminal_size(stream.fileno()).columns or WIDTH
    except (AssertionError, OSError, ValueError):  # no terminal, no descriptor, closed
        return WIDTH


def one_line(text: str) -> str:
    """Return a text on one line, without anything that a terminal would obey."""
    return " ".join(printable(text).split())


def cells(text: str) -> int:
    """Count the cells that a text takes on a terminal."""
    return sum(map(_cells, text))


def cut(text: str, width: int) -> str:
    """Return a text in at most `width` cells, `...` where its end is left out."""
    if cells(text) <= width:
        return text
    kept, room = "", width - len(MORE)
    for char in text:
        room -= _cells(char)
        if room < 0:
            break
        kept += char
    return (kept + MORE)[:width] if width < len(MORE) else kept + MORE


def _cells(char: str) -> int:
    if unicodedata.combining(char):
        return 0
    return 2 if unicodedata.east_asian_width(char) in "WF" else 1
