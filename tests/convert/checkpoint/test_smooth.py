"""Massive channels are levelled before anything is rounded, and float32 is what it was, bit for bit."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from edge_embed_convert.checkpoint.smooth import levelled
from edge_embed_convert.onnx.file import smooth_pairs

from support import tiny
from support.massive import plant


@pytest.mark.parametrize("name", ["qwen3", "eurobert", "llama"])
def test_gains_that_stand_out_are_brought_down_and_nothing_else(name: str, tmp_path: Path) -> None:
    tiny.make(name, tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    tensors = load_file(tmp_path / "model.safetensors")
    pairs = smooth_pairs(config, tensors)
    assert levelled(tensors, pairs) is tensors
    massive = plant(tensors)
    level = levelled(massive, pairs)
    rng = np.random.default_rng(0)
    for pair in pairs:
        if massive[pair.maker].ndim > 1:
            continue
        gain = np.abs(level[pair.maker])
        assert np.abs(massive[pair.maker]).max() > 25 * np.median(gain)
        assert gain.max() < 4 * np.median(gain)
        x = rng.standard_normal(len(gain), np.float32)
        before, after = massive[pair.maker] * x, level[pair.maker] * x
        for reader in pair.readers:
            np.testing.assert_array_equal(after * level[reader], before * massive[reader])
            assert level.shape(reader) == massive[reader].shape
