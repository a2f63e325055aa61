"""Massive channels are levelled before anything is rounded, and float32 is what it was, bit for bit."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from edge_embed_convert.checkpoint.moments import Moments
from edge_embed_convert.checkpoint.smooth import levelled, smoothed
from edge_embed_convert.onnx.file import level_pairs, smooth_pairs

from support import tiny, tiny_clip
from support.massive import plant


@pytest.mark.parametrize("name", ["qwen2", "qwen3", "eurobert", "llama"])
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


def test_a_bias_is_moved_with_its_weights(tmp_path: Path) -> None:
    """Qwen2's values: what the output layer reads of them, times its weights, is what it was."""
    tiny.make("qwen2", tmp_path)
    tensors = load_file(tmp_path / "model.safetensors")
    pairs = smooth_pairs(json.loads((tmp_path / "config.json").read_text()), tensors)
    rng = np.random.default_rng(0)
    sizes = {pair.layer: tensors[pair.readers[0]].shape[1] for pair in pairs}
    peaks = {layer: rng.uniform(0.1, 9, size).astype(np.float32) for layer, size in sizes.items()}
    changed = smoothed(tensors, pairs, {layer: Moments(peak, peak, 1) for layer, peak in peaks.items()})
    x, at = rng.standard_normal(32, np.float32), "layers.0.self_attn."
    after, before = (
        np.repeat((one[f"{at}v_proj.weight"] @ (x / gain) + one[f"{at}v_proj.bias"]).reshape(2, 8), 2, axis=0).ravel()
        @ one[f"{at}o_proj.weight"].T
        for one, gain in (
            (changed, tensors["layers.0.input_layernorm.weight"] / changed["layers.0.input_layernorm.weight"]),
            (tensors, 1),
        )
    )
    np.testing.assert_allclose(after, before, atol=1e-5)  # 2e-6 was measured
    assert np.abs(changed[f"{at}v_proj.bias"] - tensors[f"{at}v_proj.bias"]).max() > 0.01


@pytest.mark.parametrize("kind", ["clip", "siglip"])
def test_gains_of_two_towers_are_brought_down_with_their_biases(kind: str, tmp_path: Path) -> None:
    """An int8 text part whose massive channels stay falls from a cosine of 0.9997 to 0.39 (CLIP), 0.9998 to 0.89."""
    tiny_clip.make(kind, tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    tensors = load_file(tmp_path / "model.safetensors")
    pairs = level_pairs(config, tensors)
    assert levelled(tensors, pairs) is tensors
    massive, rng = dict(tensors), np.random.default_rng(0)
    norms = [pair for pair in pairs if tensors[pair.maker].ndim == 1]
    assert {pair.maker.partition(".")[0] for pair in norms} == {"text_model", "vision_model"}
    for pair in norms:
        scale = np.ones(len(tensors[pair.maker]), np.float32)
        scale[rng.choice(len(scale), 3, replace=False)] = 32, 64, 128
        assert pair.bias
        massive |= {name: massive[name] * scale for name in (pair.maker, pair.bias)}
        massive |= {name: massive[name] / scale for name in pair.readers}
    level = levelled(massive, pairs)
    for pair in norms:
        gain = np.abs(level[pair.maker])
        assert np.abs(massive[pair.maker]).max() > 25 * np.median(gain)
        assert gain.max() < 6 * np.median(gain)
        for maker in (pair.maker, pair.bias):
            for reader in pair.readers:
                np.testing.assert_array_equal(level[maker] * level[reader], tensors[maker] * tensors[reader])
