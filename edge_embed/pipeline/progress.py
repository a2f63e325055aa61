"""A progress bar on a terminal or in a notebook, for calls that take longer than a second."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def progress_bar(total: int | None, show: bool | None) -> Iterator[Callable[[int], object]]:
    """Yield what to call with the number of inputs done; `show` None means: where someone looks, after a second."""
    if show is False or (total is not None and total < 2):
        yield lambda count: None
        return
    notebook = "ipykernel" in sys.modules  # whose standard error is no terminal
    if notebook:
        from tqdm.auto import tqdm
    else:
        from tqdm import tqdm

    disable = None if show is None and not notebook else False  # tqdm's None is: off where it is no terminal
    with tqdm(total=total, unit="text", delay=1 if show is None else 0, disable=disable) as bar:
        yield bar.update
