"""Gemma 3's text model in every format, row by row, against transformers: windows, two thetas, grouped heads."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from edge_embed import UnsupportedModelError
from edge_embed.backends import Batch, load
from edge_embed.spec.weights import File, Weights
from edge_embed_convert.checkpoint.source import Source
from edge_embed_convert.gguf.file import write_file
from edge_embed_convert.onnx.export import to_onnx
from edge_embed_convert.variant import open_variant

from support import tiny

WINDOWED, FULL = "sliding_attention", "full_attention"
ROPE = {
    FULL: {"rope_type": "linear", "factor": 4.0, "rope_theta": 2e4},
    WINDOWED: {"rope_type": "default", "rope_theta": 3e2},
}
SHAPES: dict[str, dict[str, Any]] = {
    "both sides, every sixth layer without a window": {"num_hidden_layers": 7},
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
TOLERANCE = 1e-4  # per element of rows near 1; the largest that was seen stands beside each use
Ids, Rows = NDArray[np.int32], NDArray[np.float32]
IDS = [np.random.default_rng(n).integers(5, 700, n).astype(np.int32) for n in (150, 3, 1, 33)]


def opened(folder: Path, values: dict[str, Any]) -> tuple[Any, Source]:
    """Make a tiny checkpoint of that shape -> transformers' model, and ours."""
    shape = {"num_hidden_layers": len(values["layer_types"])} if "layer_types" in values else {}
    scalar = {"query_pre_attn_scalar": values["head_dim"]} if "head_dim" in values else {}
    model = tiny.make("gemma3_text", folder, **{**shape, **scalar, **values})
    source = open_variant(folder, None, None, None, {})
    return model, replace(source, spec=replace(source.spec, max_tokens=900))


def rows(model: Any, texts: Sequence[Ids] = IDS) -> list[Rows]:
    """Compute each text alone with transformers."""
    with torch.inference_mode():
        return [model(torch.from_numpy(ids.astype(np.int64))[None]).last_hidden_state[0].numpy() for ids in texts]


def difference(name: str, source: Source, path: Path, expected: Sequence[Rows], texts: Sequence[Ids] = IDS) -> float:
    """Return the largest difference of an element, with each text alone and in one padded batch."""
    weights = Weights(format=name, level="float32", files=(File(path=path.name),))  # type: ignore[arg-type]
    backend = load(name, path.parent, source.spec, weights, 1)
    try:
        alone = [backend.forward(Batch([ids]))[0] for ids in texts]
        together = backend.forward(Batch(texts))
    finally:
        backend.close()
    return max(float(np.abs(a - b).max()) for found in (alone, together) for a, b in zip(found, expected, strict=True))


@pytest.mark.parametrize("shape", {**SHAPES, **ONLY_OURS})
def test_rows_are_those_of_transformers(shape: str, tmp_path: Path) -> None:
    model, source = opened(tmp_path / "source", {**SHAPES, **ONLY_OURS}[shape])
    expected = rows(model)
    files = to_onnx(source.config, source.tensors, "float32", tmp_path, pooling="mean")
    assert difference("onnx", source, files[0], expected) < TOLERANCE  # 5e-6
    pytest.importorskip("mlx.core")
    assert difference("mlx", source, tmp_path / "source" / "model.safetensors", expected) < TOLERANCE  # 8e-6


@pytest.mark.parametrize("shape", SHAPES)
def test_rows_of_llama_cpp_differ_by_its_table_of_gelu_alone(shape: str, tmp_path: Path) -> None:
    pytest.importorskip("llama_cpp")
    model, source = opened(tmp_path / "source", SHAPES[shape])
    write_file(tmp_path / "x.gguf", source, "F32", source.folder / "tokenizer.json")
    exact = difference("gguf", source, tmp_path / "x.gguf", rows(model))
    for layer in model.layers:
        layer.mlp.act_fn = InFloat16(layer.mlp.act_fn)
    alike = difference("gguf", source, tmp_path / "x.gguf", rows(model))
    assert alike < 1e-3  # 6e-4
    assert 2 * alike < exact < 5e-3  # 3.4e-3


@pytest.mark.parametrize("both", [True, False], ids=["both sides", "causal"])
def test_long_texts(both: bool, tmp_path: Path) -> None:
    """Where llama.cpp rounds keys and values to float16, and goes chunk by chunk; and several blocks of MLX."""
    shape = {"use_bidirectional_attention": both, "sliding_window": 40, "layer_types": [WINDOWED, FULL, WINDOWED]}
    model, source = opened(tmp_path / "source", shape)
    texts = [np.random.default_rng(n).integers(5, 700, n).astype(np.int32) for n in (900, 3, 300)]
    expected = rows(model, texts)
    files = to_onnx(source.config, source.tensors, "float32", tmp_path, pooling="mean")
    assert difference("onnx", source, files[0], expected, texts) < TOLERANCE  # 4e-6
    pytest.importorskip("mlx.core")
    assert difference("mlx", source, tmp_path / "source" / "model.safetensors", expected, texts) < TOLERANCE  # 2e-5
    pytest.importorskip("llama_cpp")
    write_file(tmp_path / "x.gguf", source, "F32", source.folder / "tokenizer.json")
    assert difference("gguf", source, tmp_path / "x.gguf", expected, texts) < 1e-2  # 4e-3


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
    pytest.importorskip("llama_cpp")
    _, source = opened(tmp_path / "source", ONLY_OURS[what])
    with pytest.raises(UnsupportedModelError, match=rf"config\.json: {what}.* llama\.cpp .*: convert to ONNX or MLX"):
        write_file(tmp_path / "x.gguf", source, "F32", source.folder / "tokenizer.json")


def test_a_window_is_seen(tmp_path: Path) -> None:
    """What the tests above would not notice if the texts were too short for it."""
    model, source = opened(tmp_path / "source", {"num_hidden_layers": 2})
    files = to_onnx({**source.config, "sliding_window": 18}, source.tensors, "float32", tmp_path, pooling="mean")
    assert difference("onnx", source, files[0], rows(model)) > 100 * TOLERANCE
