"""A progress bar on a terminal, for calls that take longer than a second."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def progress_bar(total: int, show: bool | None) -> Iterator[Callable[[int], object]]:
    """Yield what to call with the number of inputs done; `show` None means: on a terminal, after a second."""
    if show is False or total < 2:
        yield lambda count: None
        return
    from tqdm import tqdm

    with tqdm(total=total, unit="text", delay=1 if show is None else 0, disable=None if show is None else False) as bar:
        yield bar.update
