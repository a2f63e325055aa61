"""What follows a checkpoint's rows, in sentence-transformers' layout: pooling, random Dense modules, a prompt."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save_file

PROMPT = "query: "
MODES = {
    "first": "cls_token",
    "last": "lasttoken",
    "mean": "mean_tokens",
    "max": "max_tokens",
    "weightedmean": "weightedmean_tokens",
    "mean_sqrt_len": "mean_sqrt_len_tokens",
}
TYPES = {"identity": "linear.Identity", "tanh": "activation.Tanh", "relu": "activation.ReLU"}
TYPES |= {"sigmoid": "activation.Sigmoid", "gelu": "activation.GELU", "silu": "activation.SiLU"}


def describe(folder: Path, pooling: str, include_prompt: bool = True, dense: Sequence[dict[str, Any]] = ()) -> None:
    """Write modules.json and what belongs to it, with random Dense weights."""
    (folder / "1_Pooling").mkdir(exist_ok=True)
    modes = {f"pooling_mode_{mode}": name == pooling for name, mode in MODES.items()}
    config = {"word_embedding_dimension": 32, **modes, "include_prompt": include_prompt}
    (folder / "1_Pooling" / "config.json").write_text(json.dumps(config))
    (folder / "config_sentence_transformers.json").write_text(json.dumps({"prompts": {"query": PROMPT}}))
    kinds = [("", "Transformer"), ("1_Pooling", "Pooling")]
    random = np.random.default_rng(3)
    for number, module in enumerate(dense, 2):
        place = folder / f"{number}_Dense"
        place.mkdir(exist_ok=True)
        (place / "config.json").write_text(json.dumps(module))
        size = module["out_features"], module["in_features"]
        weights = {"linear.weight": random.standard_normal(size, np.float32) / 4}
        if module.get("bias", True):
            weights["linear.bias"] = random.standard_normal(size[0], np.float32)
        save_file(weights, place / "model.safetensors")
        kinds.append((place.name, "Dense"))
    kinds += [(f"{len(kinds)}_Normalize", "Normalize")]
    for place, _ in kinds[1:]:
        (folder / place).mkdir(exist_ok=True)
    modules = [
        {"idx": n, "name": str(n), "path": path, "type": f"sentence_transformers.models.{kind}"}
        for n, (path, kind) in enumerate(kinds)
    ]
    (folder / "modules.json").write_text(json.dumps(modules))


def dense(size: int, out: int, activation: str = "tanh", **others: Any) -> dict[str, Any]:
    name = f"torch.nn.modules.{TYPES[activation]}"
    return {"in_features": size, "out_features": out, "activation_function": name, "bias": True, **others}
