"""Which texts share a call of llama.cpp, and where their tokens lie in it. Pure arithmetic on lengths."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from .context import STEP, Ids

# Tokens in a call of several texts; a longer text has a call of its own. On v5-text-nano's shape, 8 x 64 tokens: plain
# attention ran 481, 451, 401 tokens a CPU second for 128, 256, 512 a call, flash attention 484; 24 x 20: 422, 478, 431,
# 496.
TOGETHER = 256
SEQUENCES = 64  # texts in a call


def calls(lengths: Sequence[int], shared: int = 0) -> Iterator[list[int]]:
    """Group texts, in order, into calls of at most TOGETHER tokens and SEQUENCES texts; longer ones go alone.

    The first `shared` tokens count once a call.
    """
    call: list[int] = []
    tokens = shared
    for n, length in enumerate(lengths):
        if length > TOGETHER:
            yield [n]
            continue
        if tokens + length - shared > TOGETHER or len(call) == SEQUENCES:
            yield call
            call, tokens = [], shared
        call.append(n)
        tokens += length - shared
    if call:
        yield call


def places(lengths: NDArray[np.int64], first: int) -> tuple[Ids, Ids]:
    """Return each token's position in its text, of which they are those from `first` on, and the number of its text."""
    sequences = np.repeat(np.arange(len(lengths), dtype=np.int32), lengths)
    starts = np.repeat(lengths.cumsum() - lengths, lengths)
    return (np.arange(len(starts)) - starts + first).astype(np.int32), sequences


def pieces(start: int, stop: int) -> list[tuple[int, int]]:
    """Cut [start, stop) into pieces that a causal model computes at once."""
    return [(at, min(at + STEP, stop)) for at in range(start, stop, STEP)]


def room_for(tokens: int) -> int:
    """Round up by an eighth at most, so that contexts come in few sizes: all of their keys and values are in memory."""
    step = 1 << max(6, tokens.bit_length() - 4)
    return -(-tokens // step) * step


def rounded(count: int) -> int:
    """Round up to a power of two, so that contexts come in a few sizes."""
    return 1 << (count - 1).bit_length()
