"""Calls from several threads at once."""

from __future__ import annotations

import threading
from collections.abc import Callable


def wrong_in_threads(is_right: Callable[[int], bool], *, inputs: int, calls: int) -> list[int]:
    """Call `is_right` with each input in two threads, `calls` times each -> the inputs that it was false for."""
    wrong: list[int] = []

    def work(n: int) -> None:
        wrong.extend(n for _ in range(calls) if not is_right(n))

    threads = [threading.Thread(target=work, args=(n % inputs,)) for n in range(2 * inputs)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return wrong
