"""Gemma 3's text model in every format, row by row, against transformers: windows, two thetas, grouped heads."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from edge_embed import Embedder, UnsupportedModelError
from edge_embed.backends import Batch
from edge_embed.pipeline.tokenizer import TextTokenizer
from edge_embed.spec.weights import Format
from edge_embed.vectors import normalize
from edge_embed_convert import convert
from edge_embed_convert.verification import verify

from support import tiny
from support.formats import FORMATS, Rows, exact_rows, furthest, opened, some_ids

WINDOWED, FULL = "sliding_attention", "full_attention"
ROPE = {
    FULL: {"rope_type": "linear", "factor": 4.0, "rope_theta": 2e4},
    WINDOWED: {"rope_type": "default", "rope_theta": 3e2},
}
SHAPES: dict[str, dict[str, Any]] = {
    "both sides, every sixth layer without a window": {"num_hidden_layers": 7, "layer_types": None},
    "an odd window, grouped heads": {
        "sliding_window": 9,
        "num_key_value_heads": 2,
        "layer_types": [FULL, WINDOWED, WINDOWED],
    },
    "two thetas, one scaled": {"rope_parameters": ROPE, "layer_types": [WINDOWED, FULL], "head_dim": 8},
    "causal": {"use_bidirectional_attention": False, "sliding_window": 7, "layer_types": [WINDOWED, FULL, WINDOWED]},
}
ONLY_OURS: dict[str, dict[str, Any]] = {  # how llama.cpp's refusal begins -> values
    "none of the layer_types": {"layer_types": [FULL, FULL]},
    "all of the layer_types": {"layer_types": [WINDOWED, WINDOWED]},
    "query_pre_attn_scalar=24": {"query_pre_attn_scalar": 24, "layer_types": [WINDOWED, FULL]},
    "factor of sliding_attention=2.0": {
        "layer_types": [WINDOWED, FULL],
        "rope_parameters": {FULL: ROPE[FULL], WINDOWED: {**ROPE[FULL], "factor": 2.0}},
    },
}
TOLERANCE = 1e-4  # per element of rows of unit length; the largest that was seen stands beside
Ids = NDArray[np.int32]
IDS = some_ids(700, (150, 3, 1, 33))


def made(folder: Path, values: dict[str, Any]) -> Any:
    """Make a tiny checkpoint of that shape -> transformers' model."""
    shape = {"num_hidden_layers": len(values["layer_types"])} if values.get("layer_types") else {}
    scalar = {"query_pre_attn_scalar": values["head_dim"]} if "head_dim" in values else {}
    return tiny.make("gemma3_text", folder, **{**shape, **scalar, **values})


def difference(kind: Format, folder: Path, expected: Sequence[Rows], texts: Sequence[Ids] = IDS) -> float:
    """Return the largest difference of an element, with each text alone and in one padded batch."""
    backend = opened(folder, kind, 900)
    try:
        alone = [backend.forward(Batch([ids]))[0] for ids in texts]
        together = backend.forward(Batch(texts))
    finally:
        backend.close()
    return max(furthest(alone, expected), furthest(together, expected))


@pytest.mark.parametrize("shape", {**SHAPES, **ONLY_OURS})
def test_rows_are_those_of_transformers(shape: str, tmp_path: Path) -> None:
    """Measured: 9e-7 in ONNX, 1.3e-6 in MLX."""
    expected = exact_rows(made(tmp_path, {**SHAPES, **ONLY_OURS}[shape]), IDS)
    assert difference("onnx", tmp_path, expected) < TOLERANCE
    assert difference("mlx", tmp_path, expected) < TOLERANCE


@pytest.mark.parametrize("shape", SHAPES)
def test_rows_of_llama_cpp_differ_by_its_table_of_gelu_alone(shape: str, tmp_path: Path) -> None:
    """Measured: 3.6e-4; where transformers takes GELU from such a table 2e-4, which jumps at a last bit."""
    model = made(tmp_path, SHAPES[shape])
    exact = difference("gguf", tmp_path, exact_rows(model, IDS))
    for layer in model.layers:
        layer.mlp.act_fn = InFloat16(layer.mlp.act_fn)
    alike = difference("gguf", tmp_path, exact_rows(model, IDS))
    assert alike < exact < 1e-3
    assert alike < 3e-4


@pytest.mark.parametrize("both", [True, False], ids=["both sides", "causal"])
def test_long_texts(both: bool, tmp_path: Path) -> None:
    """Where llama.cpp rounds keys and values to float16, and goes chunk by chunk; and several blocks of MLX.

    Measured: 8e-7 in ONNX, 3e-6 in MLX, 1e-3 in GGUF.
    """
    shape = {"use_bidirectional_attention": both, "sliding_window": 40, "layer_types": [WINDOWED, FULL, WINDOWED]}
    texts = some_ids(700, (900, 3, 300))
    expected = exact_rows(made(tmp_path, shape), texts)
    found = {kind: difference(kind, tmp_path, expected, texts) for kind in FORMATS}
    assert found["onnx"] < TOLERANCE > found["mlx"]
    assert found["gguf"] < 3e-3


@pytest.mark.parametrize("name", ["gemma3_text", "gemma3_text-causal"])
def test_levels_that_round(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Least cosine of a text: 0.99951 in int8, 0.99976 in Q8_0, 0.99979 in 8bit were measured."""
    monkeypatch.setattr(verify, "probes", lambda max_tokens: ["a", "some words"])
    model = tiny.make(name, tmp_path / "source", hidden_size=64, initializer_range=0.1)
    texts = ["a", "hello, world!", "the quick brown fox jumps over the lazy dog 0123456789", "word " * 9]
    ids = TextTokenizer(tmp_path / "source" / "tokenizer.json", 64).tokenize(texts).ids
    expected = normalize(np.stack([rows.mean(axis=0) for rows in exact_rows(model, ids)]))
    for folder in convert(tmp_path / "source", tmp_path / "out", ["onnx:int8", "gguf:Q8_0", "mlx:8bit"]):
        with Embedder(folder) as embedder:
            cosines = (embedder.encode(texts) * expected).sum(axis=1)
        assert cosines.min() >= 0.999


class InFloat16(torch.nn.Module):
    """An activation as ggml looks it up: of a float16, as a float16."""

    def __init__(self, exact: torch.nn.Module) -> None:
        super().__init__()
        self.exact = exact

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Compute it."""
        result: torch.Tensor = self.exact(x.half().float()).half().float()
        return result


@pytest.mark.parametrize("what", ONLY_OURS)
def test_what_llama_cpp_takes_for_granted(what: str, tmp_path: Path) -> None:
    made(tmp_path, ONLY_OURS[what])
    with pytest.raises(UnsupportedModelError, match=rf"config\.json: {what}.* llama\.cpp .*: convert to ONNX or MLX"):
        opened(tmp_path, "gguf")


def test_a_window_is_seen(tmp_path: Path) -> None:
    """What the tests above would not notice if the texts were too short for it."""
    expected = exact_rows(made(tmp_path, {"layer_types": [WINDOWED, FULL]}), IDS)
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**config, "sliding_window": 18}))
    assert difference("onnx", tmp_path, expected) > 100 * TOLERANCE
