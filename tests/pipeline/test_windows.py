"""What is gathered before the first of it is embedded is bounded in bytes, whatever kind of input it is."""

from __future__ import annotations

import numpy as np
import pytest

from edge_embed.images.sources import UNTRUSTED
from edge_embed.pipeline import windows
from edge_embed.pipeline.windows import WINDOW, WINDOW_BYTES, split_windows


@pytest.mark.parametrize(
    "item",
    [
        {"text": "a" * (WINDOW_BYTES // 80)},
        {"image": bytes(WINDOW_BYTES // 10)},
        {"image": np.zeros((WINDOW_BYTES // 10 // 3, 1, 3), np.uint8), "text": "a red one"},
        "a" * (WINDOW_BYTES // 80),
    ],
)
def test_large_inputs_are_gathered_by_their_bytes(item: object) -> None:
    assert [len(window) for window in split_windows([item] * 25)] in ([10, 10, 5], [11, 11, 3])


def test_pillow_images_count_as_decoded() -> None:
    image = pytest.importorskip("PIL.Image").new("RGB", (1000, WINDOW_BYTES // 4000 // 2))
    assert [len(window) for window in split_windows([{"image": image}] * 7)] == [3, 3, 1]


def test_small_inputs_and_paths_are_gathered_by_number(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(windows, "WINDOW", 3)
    assert [len(window) for window in split_windows([{"image": "a.png"}] * 7)] == [3, 3, 1]
    assert WINDOW == 4096


def test_a_service_decodes_no_more_than_16_megapixels() -> None:
    assert UNTRUSTED.max_pixels == 16_000_000
