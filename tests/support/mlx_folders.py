"""Folders of tiny checkpoints for MLX, and what transformers computes of them."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import mlx.core as mx
import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.numpy import load_file

from edge_embed.architectures import dim, model_type_of
from edge_embed.spec.model import ModelSpec
from edge_embed.spec.weights import File, Weights

from support import tiny
from support.fake import SPEC

Ids = list[NDArray[np.int32]]


WEIGHTS = Weights(format="mlx", level="float32", files=(File(path="model.safetensors"),))


TOLERANCE = 1e-4  # per element of unit vectors; 9e-7 was measured


def spec_of(folder: Path, pooling: str = "last") -> ModelSpec:
    config = json.loads((folder / "config.json").read_text())
    return replace(SPEC, architecture=model_type_of(config), dim=dim(config), pooling=pooling)


def some_ids(*lengths: int) -> Ids:
    rng = np.random.default_rng(5)
    return [rng.integers(4, len(tiny.WORDS), length).astype(np.int32) for length in lengths]


def pooled(rows: NDArray[np.float32], pooling: str) -> NDArray[np.float32]:
    vector: NDArray[np.float32] = {"mean": rows.mean(axis=0), "last": rows[-1], "first": rows[0]}[pooling]
    return vector / np.linalg.norm(vector)


def expected(model: Any, ids: Ids, pooling: str) -> list[NDArray[np.float32]]:
    with torch.inference_mode():
        states = [model(torch.from_numpy(row.astype(np.int64))[None]).last_hidden_state[0].numpy() for row in ids]
    return [pooled(rows, pooling) for rows in states]


def quantise(folder: Path, bits: int, group: int, prefix: str = "") -> dict[str, NDArray[np.float32]]:
    """Quantise the checkpoint as mlx-lm does, and return what its weights are worth then."""
    tensors, worth = {}, {}
    for name, value in load_file(folder / "model.safetensors").items():
        worth[name], tensors[prefix + name] = value, mx.array(value)
        if value.ndim == 2 and value.shape[1] % group == 0:
            parts = mx.quantize(mx.array(value), group, bits)
            worth[name] = np.array(mx.dequantize(*parts, group_size=group, bits=bits))
            keys = (prefix + name, *(prefix + name.replace(".weight", end) for end in (".scales", ".biases")))
            tensors |= dict(zip(keys, parts, strict=True))
    mx.save_safetensors(str(folder / "model.safetensors"), tensors, {"format": "mlx"})
    return worth
