"""Massive channels cost no format anything: `python -m benchmarks quality.massive` has figures of trained models."""

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
