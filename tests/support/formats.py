"""A checkpoint's folder as every format has it, written without the verification of a conversion; and its oracle."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from edge_embed.backends import TextBackend, load
from edge_embed.spec.weights import Format, Level, Weights
from edge_embed_convert.export import describe
from edge_embed_convert.gguf.file import write_file
from edge_embed_convert.onnx.export import to_onnx
from edge_embed_convert.variant import open_variant

FORMATS: tuple[Format, ...] = ("onnx", "mlx", "gguf")
LEVELS: dict[Format, Level] = {"onnx": "float32", "mlx": "float32", "gguf": "F32"}
Rows = NDArray[np.float32]


def opened(folder: Path, kind: Format, length: int = 512) -> TextBackend:
    """Load a checkpoint's text part with mean pooling, so that every row comes out; MLX reads the checkpoint itself."""
    source = open_variant(folder, None, None, None, {"max_tokens": length, "pooling": "mean"})
    paths = [folder / "model.safetensors"]
    if kind == "onnx":
        paths = to_onnx(source.config, source.tensors, "float32", folder, pooling="mean")
    elif kind == "gguf":
        paths = [folder / "model.gguf"]
        write_file(paths[0], source, "F32", folder / "tokenizer.json")
    files = tuple(describe(path, folder) for path in paths)
    weights = Weights(format=kind, level=LEVELS[kind], files=files)
    return load(kind, folder, replace(source.spec, weights=(weights,)), weights, 2)


def some_ids(words: int, lengths: Sequence[int]) -> list[NDArray[np.int32]]:
    """Draw texts of so many tokens."""
    random = np.random.default_rng(11)
    return [random.integers(4, words, length).astype(np.int32) for length in lengths]


def exact_rows(model: Any, ids: Sequence[NDArray[np.int32]]) -> list[Rows]:
    """Compute each text alone with transformers -> its last hidden states (tokens, dim)."""
    with torch.inference_mode():
        return [model(torch.from_numpy(one.astype(np.int64))[None]).last_hidden_state[0].numpy() for one in ids]


def furthest(rows: Sequence[Rows], exact: Sequence[Rows]) -> float:
    """Return the largest difference of an element, rows scaled to unit length."""
    pairs = zip(rows, exact, strict=True)
    return max(float(np.abs(_unit(row) - _unit(wanted)).max()) for row, wanted in pairs)


def _unit(rows: Rows) -> Rows:
    return rows / np.linalg.norm(rows, axis=-1, keepdims=True)
