"""What a command tells beside its result: warnings and logs as one plain line each, as many as were asked for."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO

from edge_embed.progress import shown, tell

LEVELS = (logging.WARNING, logging.INFO, logging.DEBUG)  # by the number of -v
CHATTY = "edge_embed.llama_cpp"  # tells a hundred lines of each model that is loaded


@contextmanager
def told(quiet: bool, verbose: int) -> Iterator[None]:
    """Send warnings and our log to standard error, a line each; with `quiet` neither they nor progress is shown."""
    level = logging.ERROR if quiet else LEVELS[min(verbose, len(LEVELS) - 1)]
    logger, chatty = logging.getLogger("edge_embed"), logging.getLogger(CHATTY)
    before = logger.level, chatty.level, warnings.showwarning
    handler = _Tell()
    logger.addHandler(handler)
    logger.setLevel(level)
    chatty.setLevel(level if level == logging.DEBUG else max(level, logging.WARNING))
    warnings.showwarning = _warn
    try:
        with shown("nowhere" if quiet else "everywhere"):
            yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(before[0])
        chatty.setLevel(before[1])
        warnings.showwarning = before[2]


class _Tell(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        """Print a record's message; what is for developers with the name of its logger."""
        name = f"{record.name}: " if record.levelno < logging.INFO else ""
        try:
            if record.levelno >= logging.WARNING:
                tell(self.format(record), f"edge-embed: {record.levelname.lower()}: ", "yellow")
            else:
                tell(f"{name}{self.format(record)}", "edge-embed: ")
        except Exception:  # as every handler: a message that cannot be written must not end the work
            self.handleError(record)


def _warn(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    """Print a warning's message, and no line of the source, which is ours and helps nobody."""
    tell(str(message), "edge-embed: warning: ", "yellow")
