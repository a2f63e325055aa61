"""make_batches(): every row once, within the budget, little padding."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from edge_embed.pipeline.batches import CALL_COST, make_batches


@given(st.lists(st.integers(1, 300), max_size=60), st.integers(1, 800))
def test_every_row_once_within_the_budget_longest_first(lengths: list[int], budget: int) -> None:
    batches = make_batches(lengths, budget)
    assert sorted(np.concatenate(batches).tolist() if batches else []) == list(range(len(lengths)))
    longest = [max(lengths[n] for n in batch) for batch in batches]
    assert all(len(batch) == 1 or len(batch) * top <= budget for batch, top in zip(batches, longest, strict=True))
    assert longest == sorted(longest, reverse=True)


def cost(lengths: list[int], batches: list[list[int]]) -> int:
    return sum(CALL_COST + len(batch) * max(lengths[n] for n in batch) for batch in batches)


@given(st.lists(st.integers(1, 200), min_size=1, max_size=7), st.integers(100, 600))
def test_no_other_split_of_the_sorted_rows_is_cheaper(lengths: list[int], budget: int) -> None:
    order = sorted(range(len(lengths)), key=lambda n: -lengths[n])
    splits = []
    for cuts in range(1 << (len(order) - 1)):
        batches, start = [], 0
        for end in range(1, len(order) + 1):
            if end == len(order) or cuts >> (end - 1) & 1:
                batches.append(order[start:end])
                start = end
        if all(len(batch) == 1 or len(batch) * lengths[batch[0]] <= budget for batch in batches):
            splits.append(cost(lengths, batches))
    assert cost(lengths, [batch.tolist() for batch in make_batches(lengths, budget)]) == min(splits)


def test_padding_is_small_on_many_rows() -> None:
    lengths = np.random.default_rng(0).integers(3, 256, 2000).tolist()
    padded = sum(len(batch) * max(lengths[n] for n in batch) for batch in make_batches(lengths, 1024))
    assert padded / sum(lengths) < 1.02
