"""The bound of int8: what a processor rounds elsewhere lies within it, and what is broken does not."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from edge_embed.errors import VerificationError
from edge_embed_convert import convert
from edge_embed_convert.onnx import levels
from edge_embed_convert.onnx.export import BOUNDS

INT8 = BOUNDS["int8"]


def probes(*lowest: float) -> NDArray[np.float32]:
    return np.array([*lowest, *[0.998] * (68 - len(lowest))], np.float32)


def test_one_text_may_lie_below() -> None:
    assert INT8.holds(probes(0.9770, 0.9817, 0.9838, 0.9903))  # all-MiniLM-L6-v2 on aarch64
    assert INT8.holds(probes(0.9501))
    assert not INT8.holds(probes(0.9499))
    assert not INT8.holds(probes(0.9799, 0.9799))
    assert not INT8.holds(np.full(68, 0.9949, np.float32))
    assert not INT8.holds(probes(float("nan")))
    assert BOUNDS["float32"].outliers == 0
    assert not BOUNDS["float32"].holds(np.array([0.99998] + [1.0] * 67, np.float32))


def test_a_layer_of_wrong_scales_is_refused(minilm: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Too large by a tenth: no text is below 0.97, three are below 0.98, and the mean is 0.9941."""
    right, products = levels.by_row, iter(range(1000))

    def wrong(weight: NDArray[np.float32]) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
        codes, scale = right(weight)
        return codes, scale * np.float32(1.1 if next(products) == 5 else 1)

    monkeypatch.setattr(levels, "by_row", wrong)
    with pytest.raises(VerificationError) as refused:
        convert(minilm, tmp_path, ["onnx:int8"])
    said = re.search(
        r"cosine to float32 is (\S+) in the mean and (\S+) at least \(bounds 0.995 and 0.98, 0.95 for 1\)",
        str(refused.value),
    )
    assert said is not None
    assert float(said[2]) > 0.95
