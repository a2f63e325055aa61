"""Which rows go together: batches of similar length within a token budget."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

CALL_COST = 64  # tokens' worth of time that one more engine call costs; measured on all-MiniLM-L6-v2, 2 cores


def make_batches(lengths: Sequence[int], max_tokens: int) -> list[NDArray[np.intp]]:
    """Split rows into batches with rows * longest <= max_tokens, least padding and calls, longest first.

    `lengths` are token counts. A row longer than the budget gets a batch of its own. Every row is in exactly one batch.
    """
    count = len(lengths)
    order = np.argsort(np.asarray(lengths, np.int64), kind="stable")[::-1]
    sizes = np.asarray(lengths, np.int64)[order]
    cost = np.zeros(count + 1)  # cost[i]: the cheapest split of the i longest rows
    start = np.zeros(count + 1, np.int64)  # start[i]: where the last batch of that split begins
    low = 0
    for end in range(1, count + 1):
        while low < end - 1 and (end - low) * sizes[low] > max_tokens:
            low += 1
        begins = np.arange(low, end)
        costs = cost[low:end] + (end - begins) * sizes[low:end]
        best = int(costs.argmin())
        cost[end], start[end] = costs[best] + CALL_COST, begins[best]
    batches = []
    end = count
    while end > 0:
        batches.append(order[start[end] : end])
        end = int(start[end])
    return batches[::-1]
