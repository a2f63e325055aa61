"""Which texts share a call of llama.cpp, and where their tokens lie in it. Pure arithmetic on lengths."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from . import CHUNK, TOKENS_PER_CALL
from .context import Ids

TEXTS_PER_CALL = 64  # texts in a call


def calls(lengths: Sequence[int], prefix_length: int = 0) -> Iterator[list[int]]:
    """Group texts, in order, into calls of up to TOKENS_PER_CALL tokens and TEXTS_PER_CALL texts; longer ones go alone.

    The first `prefix_length` tokens of every text count once a call.
    """
    call: list[int] = []
    tokens = prefix_length
    for n, length in enumerate(lengths):
        if length > TOKENS_PER_CALL:
            yield [n]
            continue
        if tokens + length - prefix_length > TOKENS_PER_CALL or len(call) == TEXTS_PER_CALL:
            yield call
            call, tokens = [], prefix_length
        call.append(n)
        tokens += length - prefix_length
    if call:
        yield call


def positions(lengths: NDArray[np.int64], first: int) -> tuple[Ids, Ids]:
    """Return the position of each token in its text, and the number of that text; a text's tokens begin at `first`."""
    sequences = np.repeat(np.arange(len(lengths), dtype=np.int32), lengths)
    starts = np.repeat(lengths.cumsum() - lengths, lengths)
    return (np.arange(len(starts)) - starts + first).astype(np.int32), sequences


def chunks(start: int, stop: int) -> list[tuple[int, int]]:
    """Cut [start, stop) into ranges that a causal model computes at once."""
    return [(at, min(at + CHUNK, stop)) for at in range(start, stop, CHUNK)]


def context_size(tokens: int) -> int:
    """Round up by an eighth at most, so that contexts come in few sizes; their keys and values fill memory at once."""
    step = 1 << max(6, tokens.bit_length() - 4)
    return -(-tokens // step) * step


def power_of_two(count: int) -> int:
    """Round up to a power of two."""
    return 1 << (count - 1).bit_length()
