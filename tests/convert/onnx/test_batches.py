"""A text among longer ones is computed as alone, to the last bit: every row, or the pooled one, at every level."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from edge_embed.backends import Batch
from edge_embed.backends.onnx.backend import OnnxBackend
from edge_embed.spec.model import ModelSpec, Pooling
from edge_embed_convert.checkpoint.renamed import as_known
from edge_embed_convert.checkpoint.source import Tensors
from edge_embed_convert.onnx.export import to_onnx
from edge_embed_convert.onnx.levels import LEVELS
from tests.support import tiny

LENGTHS = (1, 2, 3, 9, 17, 17, 31, 40, 61, 96)


@pytest.fixture(scope="module", params=["bert", "qwen3", "eurobert", "eurobert-grouped", "modernbert", "nomic-bert"])
def checkpoint(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp(request.param)
    tiny.make(request.param, folder)
    return folder


@pytest.mark.parametrize("pooling", ["mean", "last", "first"])
def test_a_vector_does_not_depend_on_its_batch(checkpoint: Path, pooling: Pooling, tmp_path: Path) -> None:
    config = json.loads((checkpoint / "config.json").read_text())
    spec = ModelSpec(name="tiny", architecture="-", dim=32, max_tokens=96, pooling=pooling, normalize=True)
    rng = np.random.default_rng(0)
    ids = [rng.integers(4, len(tiny.WORDS), length).astype(np.int32) for length in LENGTHS]
    tensors = as_known(Tensors([checkpoint / "model.safetensors"]), config["model_type"])
    for level in LEVELS:
        graph, _ = to_onnx(config, tensors, level, tmp_path, pooling=pooling)
        backend = OnnxBackend(graph, spec, 1)
        alone = [backend.forward(Batch([one]))[0] for one in ids]
        for order in (range(len(ids)), range(len(ids))[::-1], [4, 5], [3, 4], [0, 9], [8, 0, 0, 8]):
            for rows, n in zip(backend.forward(Batch([ids[n] for n in order])), order, strict=True):
                np.testing.assert_array_equal(rows, alone[n], f"{level}: text {n} in {[*order]}")
        backend.close()
