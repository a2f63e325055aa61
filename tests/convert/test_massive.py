"""Massive channels cost no format anything: `python -m benchmarks quality.massive` has figures of trained models.

BERT has no twin whose norms are massive. What its norms give out goes on in the residual, and the next norm takes the
mean and the variance of that over all channels. A channel that is 100 times too large can be carried along in all that
writes and reads it, but it changes that mean and variance by another amount for every token, which no weight undoes. In
Qwen3 and EuroBERT a norm feeds matrices alone. What BERT can have is massive values within its attention, which nothing
levels: no trained checkpoint is known to have them. A random one's worst cosine falls from 0.999 to 0.910 at int8.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from edge_embed_convert import convert

from support import tiny
from support.massive import make


@pytest.mark.filterwarnings("ignore::edge_embed.AcceptedLossWarning")
@pytest.mark.parametrize("to", [["onnx:float16", "onnx:int8", "onnx:int4"], ["gguf:Q8_0"], ["mlx:8bit"]])
def test_levels_lose_no_more_where_channels_are_massive(to: list[str], tmp_path: Path) -> None:
    """Compare the golden texts' cosines."""
    tiny.make("eurobert", tmp_path / "tame", "lasttoken", hidden_size=64, head_dim=16)
    made = {"tame": tmp_path / "tame", "massive": make(tmp_path / "tame", tmp_path / "massive")}
    cosines = {}
    for name, base in made.items():
        (folder,) = convert(base, tmp_path / "out" / name, to, accept_loss=True)
        weights = json.loads((folder / "edge_embed.json").read_text())["weights"]
        cosines[name] = {one["level"]: min(one["fidelity"]["cosines"]) for one in weights}
    for level, tame in cosines["tame"].items():
        assert cosines["massive"][level] >= tame - 0.3 * (1 - tame) - 1e-4
