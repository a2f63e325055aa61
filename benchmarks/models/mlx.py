"""Random weights at the sizes of v5-text-nano and -small, and at one for trials, written as MLX files."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_embed.spec.model import ModelSpec

LEVELS = ("float32", "bfloat16", "float16", "8bit", "4bit")
COMMON = {"hidden_act": "silu", "intermediate_size": 3072, "rms_norm_eps": 1e-6}
NANO = {"hidden_size": 768, "num_hidden_layers": 12, "num_attention_heads": 12, "vocab_size": 128256}
TINY = {"hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2, "vocab_size": 16384}
SMALL = {"hidden_size": 1024, "num_hidden_layers": 28, "num_attention_heads": 16, "num_key_value_heads": 8}
SHAPES: dict[str, dict[str, Any]] = {
    "nano": {**COMMON, **NANO, "model_type": "eurobert", "rope_theta": 1e6},
    "small": {**COMMON, **SMALL, "head_dim": 128, "vocab_size": 151936, "model_type": "qwen3", "rope_theta": 3.5e6},
    "tiny": {**COMMON, **TINY, "intermediate_size": 128, "model_type": "eurobert", "rope_theta": 1e6},  # for a trial
}


class Random(Mapping[str, NDArray[np.float32]]):
    """Random tensors of a model's names and shapes, each made when asked for."""

    def __init__(self, config: dict[str, Any]) -> None:
        from mlx.utils import tree_flatten

        from edge_embed.backends.mlx.models import build

        parameters = dict(tree_flatten(build(config["model_type"], config).model.parameters()))
        self._shapes = {name: value.shape for name, value in parameters.items()}

    def __getitem__(self, name: str) -> NDArray[np.float32]:
        shape = self._shapes[name]
        values = np.random.default_rng(len(name)).standard_normal(shape, np.float32)
        return values * np.float32(0.02) if len(shape) > 1 else np.ones(shape, np.float32)

    def __iter__(self) -> Iterator[str]:
        return iter(self._shapes)

    def __len__(self) -> int:
        return len(self._shapes)


def spec_of(config: dict[str, Any]) -> ModelSpec:
    """Describe the model as the runtime needs it."""
    sizes = {"dim": config["hidden_size"], "max_tokens": 8192}
    return ModelSpec(name="random", architecture=config["model_type"], pooling="last", normalize=True, **sizes)


def write(config: dict[str, Any], folder: Path, level: str) -> str:
    """Write random weights at a level and return the file's name."""
    from edge_embed_convert.checkpoint.source import Source
    from edge_embed_convert.export import Export
    from edge_embed_convert.mlx.export import write

    source = Source(folder, spec_of(config), config, Random(config), ())
    (weights,) = write(Export(folder=folder, source=source, levels=[level]))
    return str(weights.files[0].path)
