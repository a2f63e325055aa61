"""Inputs window by window, so that memory is bounded however many come; what one window's work needs and leaves."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from edge_embed.errors import InputError, TruncationWarning, warn
from edge_embed.vectors import Array

from .inputs import Inputs
from .options import Options
from .tokenizer import TokenCount

WINDOW = 4096  # texts that are tokenised and sorted together: bounds memory, and long enough to batch like lengths
WINDOW_BYTES = 1 << 26  # of inputs that are held before the first of them is embedded
CHARACTER = 8  # bytes that a character takes at most, its tokens included
PIXEL = 4  # bytes


class Window(NamedTuple):
    """Finished vectors (inputs, dim) in order; where an input failed, its error by position, and a row of no use."""

    vectors: Array
    errors: Mapping[int, InputError]


@dataclass
class TruncationReport:
    """How many texts were cut, for one warning at the end of a call."""

    max_tokens: int
    texts: int = 0
    cut: int = 0
    longest: int = 0

    def add(self, counts: Iterable[TokenCount]) -> None:
        """Count more texts."""
        for count in counts:
            self.texts += 1
            self.cut += count.cut > 0
            self.longest = max(self.longest, count.tokens)

    def warn(self) -> None:
        """Warn if any text was cut."""
        if self.cut:
            message = (
                f"{self.cut} of {self.texts} texts were cut to {self.max_tokens} tokens; the longest has {self.longest}"
            )
            warn(message, TruncationWarning)


@dataclass(frozen=True)
class WindowState:
    """One window being embedded: its inputs, where their rows go, and whom to tell of progress and cut texts."""

    inputs: Inputs
    rows: NDArray[np.float32]
    options: Options
    report: TruncationReport
    done: Callable[[int], object]


def split_windows(inputs: Iterable[object], most_images: int = WINDOW) -> Iterator[list[object]]:
    """Group inputs by number, by how many images there are, and by the bytes that they hold; at least one a group."""
    items = iter(inputs)
    for item in items:
        window, size, images = [item], _size(item), int(_is_image(item))
        while len(window) < WINDOW and size < WINDOW_BYTES and images < most_images:
            more = list(itertools.islice(items, 1))
            if not more:
                break
            window += more
            size += _size(more[0])
            images += _is_image(more[0])
        yield window


def _is_image(item: object) -> bool:
    return isinstance(item, Mapping) and "image" in item


def _size(item: object) -> int:
    """Count the bytes of a text, of an image as it was given, or of a dict of both; a path or URL is its name alone."""
    if isinstance(item, Mapping):
        return sum(map(_size, item.values()))
    if isinstance(item, str):
        return CHARACTER * len(item)
    if isinstance(item, bytes | bytearray):
        return len(item)
    if isinstance(item, np.ndarray | memoryview):
        return item.nbytes
    size = getattr(item, "size", None)  # of a Pillow image, which need not be installed
    return PIXEL * size[0] * size[1] if isinstance(size, tuple) and len(size) == 2 else 0
