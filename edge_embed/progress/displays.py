"""Where steps are shown: one line of a terminal, lines of a log now and then, or a bar in a notebook."""

from __future__ import annotations

import contextlib
import importlib
import sys
import time
import warnings
from typing import Any, Protocol

from .screen import ERASE, cells, cut, paint, width_of
from .step import Step, span

EVERY = 0.1  # seconds between two pictures of a line
FIRST, NEXT = 10.0, 30.0  # seconds before a log gets a line, and between two
BAR, SHORTEST = 24, 8  # cells of a bar, and of the fewest that are worth one


class Display(Protocol):
    """Something that shows steps; `progress` calls it under a lock, so that threads may have steps of their own."""

    def begin(self, step: Step) -> None:
        """Take note of a step."""

    def moved(self, step: Step) -> None:
        """Show the step, if it is time to."""

    def end(self, step: Step) -> None:
        """Forget the step, and let a line of it stay, if it is to."""


class Terminal:
    """The last line of standard error, which shows the step that began last; it is cleared when that ends."""

    def __init__(self) -> None:
        self._steps: list[Step] = []
        self._drawn = False

    def begin(self, step: Step) -> None:
        """Put a step above those that run."""
        self._steps.append(step)

    def moved(self, step: Step) -> None:
        """Draw the line anew, ten times a second at most."""
        now = time.monotonic()
        if step is self._steps[-1] and now - step.started >= step.delay and now - step.shown >= EVERY:
            step.look(now)
            step.shown = now
            self._drawn = True
            write(ERASE + bar_line(step, width_of(sys.stderr) - 1))

    def end(self, step: Step) -> None:
        """Clear the line."""
        self._steps.remove(step)
        self.clear()
        if step.kept:
            write(f"{summary(step)}\n")

    def clear(self) -> None:
        """Make room for what others print; the line is drawn again when its step moves."""
        if self._drawn:
            self._drawn = False
            write(ERASE)


class Lines:
    """A line of standard error after ten seconds, and then every half minute: for logs, which keep what they get."""

    def begin(self, step: Step) -> None:
        """Nothing is told of a step that has just begun."""

    def moved(self, step: Step) -> None:
        """Tell of the step where it takes long."""
        now = time.monotonic()
        if now - max(step.started + FIRST - NEXT, step.shown) >= NEXT:
            step.look(now)
            step.shown = now
            percent = "" if step.fraction is None else f"{step.fraction:.0%}".replace("%", " %, ")
            left = f", {step.left()}" if step.left() else ""
            write(f"{step.what}: {percent}{step.amount()}{left}\n")

    def end(self, step: Step) -> None:
        """Tell what a step came to, if a line of it is to stay."""
        if step.kept:
            write(f"{summary(step)}\n")


class Notebook:
    """tqdm's bars, which notebooks show as widgets where they have ipywidgets, and as text where not."""

    def __init__(self) -> None:
        self._bars: dict[int, Any] = {}

    def begin(self, step: Step) -> None:
        """Add a bar, which appears when its time has come."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # tqdm's own, that ipywidgets would be nicer
            tqdm = importlib.import_module("tqdm.auto").tqdm
        known = {"total": step.total, "initial": step.done, "unit": step.unit, "unit_scale": step.unit == "B"}
        self._bars[id(step)] = tqdm(desc=step.what, delay=step.delay, leave=step.kept, **known)

    def moved(self, step: Step) -> None:
        """Move the bar on."""
        bar = self._bars[id(step)]
        bar.update(step.done - bar.n)

    def end(self, step: Step) -> None:
        """Close the bar."""
        self._bars.pop(id(step)).close()


def bar_line(step: Step, width: int) -> str:
    """Write a step in so many cells: what it is, a bar, and of its figures as many as there is room for."""
    fraction = step.fraction
    figures = ["" if fraction is None else f"{100 * fraction:3.0f} %", step.left(), step.amount(), step.rate()]
    label, tail = cut(step.what, width // 2), ""
    room = width - cells(label)
    for figure in filter(None, figures):
        if cells(tail) + cells(figure) + 2 <= room - (SHORTEST + 2) * (fraction is not None):
            tail += f"  {figure}"
    length = min(BAR, room - cells(tail) - 2)
    if fraction is None or length < SHORTEST:
        return label + paint(tail, "dim", sys.stderr)
    full = round(length * fraction)
    done, rest = ("━", "─") if _is_unicode() else ("#", "-")
    bar = paint(done * full, "cyan", sys.stderr) + paint(rest * (length - full), "dim", sys.stderr)
    return f"{label}  {bar}{paint(tail, 'dim', sys.stderr)}"


def summary(step: Step) -> str:
    """Say what a step came to."""
    came_to = Step(step.what, None, step.unit, step.done).amount()
    return f"{step.what}: {came_to} in {span(time.monotonic() - step.started)}"


def write(text: str) -> None:
    """Write to standard error, where that can be done: nobody is to lose work for want of a bar."""
    with contextlib.suppress(OSError, ValueError, AttributeError):
        sys.stderr.write(text)
        sys.stderr.flush()


def _is_unicode() -> bool:
    return (getattr(sys.stderr, "encoding", None) or "").lower().replace("-", "") == "utf8"
