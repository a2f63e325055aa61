"""How far a job is, for people on a terminal or in a log, and for machines."""

from __future__ import annotations

import json
import sys
import time
from dataclasses import asdict, dataclass
from typing import Literal

from edge_embed.progress.screen import ERASE, can_redraw, cut, width_of

from .compute import Outcome

Show = Literal["auto", "json", "none"]
EVERY = {"terminal": 0.2, "lines": 60.0, "json": 5.0}  # seconds between two lines


@dataclass
class Standing:
    """How far a job, or a shard of it, is: rows done of all, and of this run texts and tokens computed."""

    rows: int = 0
    total: int = 0
    vectors: int = 0
    rejected: int = 0
    computed: int = 0
    tokens: int = 0
    cut: int = 0
    seconds: float = 0.0


class Meter:
    """Count what is done and show it on standard error."""

    def __init__(self, total: int, show: Show) -> None:
        self.standing = Standing(total=total)
        self._start = self._shown = time.monotonic()
        self._rows_before = 0
        terminal = can_redraw(sys.stderr)
        self._way = None if show == "none" else "json" if show == "json" else "terminal" if terminal else "lines"

    def found(self, outcome: Outcome) -> None:
        """Count a chunk that was done before."""
        self._add(outcome)
        self._rows_before += outcome.rows

    def batch(self, texts: int, tokens: int) -> None:
        """Count a batch that was computed."""
        self.standing.computed += texts
        self.standing.tokens += tokens
        self._show()

    def chunk(self, outcome: Outcome) -> None:
        """Count a chunk that is done now."""
        self._add(outcome)
        self.standing.cut += outcome.cut
        self._show()

    def end(self) -> Standing:
        """Show the last line and return the counts."""
        self._show(last=True)
        if self._way == "terminal":
            self._write("\n")
        return self.standing

    def _add(self, outcome: Outcome) -> None:
        self.standing.rows += outcome.rows
        self.standing.vectors += outcome.vectors
        self.standing.rejected += outcome.rejected

    def _show(self, last: bool = False) -> None:
        now = time.monotonic()
        self.standing.seconds = now - self._start
        if self._way is None or (now - self._shown < EVERY[self._way] and not last):
            return
        self._shown = now
        if self._way == "json":
            left = self._left()
            self._write(json.dumps({**asdict(self.standing), "seconds_left": left}) + "\n")
        else:
            line = self._line()
            self._write(ERASE + cut(line, width_of(sys.stderr) - 1) if self._way == "terminal" else f"{line}\n")

    def _left(self) -> float | None:
        done = self.standing.rows - self._rows_before
        return (self.standing.total - self.standing.rows) / done * self.standing.seconds if done else None

    def _line(self) -> str:
        one, left = self.standing, self._left()
        share = one.rows / one.total if one.total else 1.0
        bar = "#" * round(20 * share)
        rate = one.computed / one.seconds if one.seconds else 0.0
        ahead = f", {_clock(left)} left" if left is not None and one.rows < one.total else ""
        rejected = f", {one.rejected:,} rejected" if one.rejected else ""
        return (
            f"[{bar:20}] {one.rows:,} of {one.total:,} rows{ahead}, {rate:,.0f} texts/s, "
            f"{one.tokens:,} tokens{rejected}"
        )

    def _write(self, text: str) -> None:
        try:
            sys.stderr.write(text)
            sys.stderr.flush()
        except (OSError, ValueError, AttributeError):  # nobody looks any more
            self._way = None


def _clock(seconds: float) -> str:
    whole = round(seconds)
    return f"{whole // 3600}:{whole // 60 % 60:02}:{whole % 60:02}"
