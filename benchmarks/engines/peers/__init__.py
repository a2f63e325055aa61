"""Embedding engines of others and ours behind one protocol; each file imports its packages when a model is loaded."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Engine:
    """A loaded model: texts -> one unit vector each. `pid` is the process that computes, where it is not this one."""

    embed: Callable[[list[str]], Any]
    pid: int | None = None
    close: Callable[[], object] = lambda: None


def batches(texts: list[str], size: int) -> Iterator[list[str]]:
    """Cut a list into lists of so many texts, in order."""
    for start in range(0, len(texts), size):
        yield texts[start : start + size]
