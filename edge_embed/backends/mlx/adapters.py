"""LoRA adapters beside a base model: every task's factors stay loaded, and a switch exchanges which ones count.

Reads PEFT's folders (adapter_model.safetensors) and mlx-lm's (adapters.safetensors). Plain LoRA on linear layers alone;
what would need the base's weights to be changed is refused: such an adapter has to be merged.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import mlx.core as mx
from mlx import nn
from mlx.utils import tree_unflatten

from edge_embed.errors import CorruptModelError, ModelNotFoundError, UnsupportedModelError, listing

from .weights import read_tensors

CONFIG = "adapter_config.json"
PEFT, MLX_LM = "adapter_model.safetensors", "adapters.safetensors"
# One of PEFT's (A (r, in), B (out, r)) or of mlx-lm's (a (in, r), b (r, out)) factors.
FACTOR = re.compile(r"(?:base_model\.model\.)?(?P<module>.+)\.lora_(?P<part>[ABab])(?:\.default)?(?:\.weight)?")
# What PEFT may say without any effect on the vectors.
IDLE = (
    *("auto_mapping", "base_model_name_or_path", "inference_mode", "lora_dropout", "peft_version", "revision"),
    *("task_type", "megatron_core", "qalora_group_size", "loftq_config", "eva_config", "corda_config"),
)
READ = (
    *("peft_type", "r", "lora_alpha", "rank_pattern", "alpha_pattern", "use_rslora", "target_modules", "bias"),
    *("layers_to_transform", "layers_pattern", "exclude_modules", "init_lora_weights"),
)
INITS = ("true", "false", "gaussian", "orthogonal")  # others start from changed base weights
Factors = tuple[mx.array, mx.array]


class Adapted(nn.Module):
    """A linear layer and what an adapter adds: W x + B A x, the scale being part of B."""

    def __init__(self, linear: nn.Module) -> None:
        super().__init__()
        self.linear = linear
        self.lora_a, self.lora_b = mx.zeros((1, 1)), mx.zeros((1, 1))

    def __call__(self, x: mx.array) -> mx.array:
        """Project (..., in) -> (..., out)."""
        return self.linear(x) + (x @ self.lora_a) @ self.lora_b


class Adapters:
    """Every task's factors, and the layers of one model that they belong to."""

    def __init__(self, model: Any, folders: Mapping[str, Path], prefixes: tuple[str, ...]) -> None:
        linears = {name: m for name, m in model.named_modules() if isinstance(m, nn.Linear | nn.QuantizedLinear)}
        sizes = {name: _size(module) for name, module in linears.items()}
        found = {task: read_factors(folder, sizes, prefixes) for task, folder in folders.items()}
        touched = sorted({name for factors in found.values() for name in factors})
        self._layers = {name: Adapted(linears[name]) for name in touched}
        model.update_modules(tree_unflatten(list(self._layers.items())))
        self._tasks = {task: self._complete(factors, linears, sizes) for task, factors in found.items()}
        mx.eval(self._tasks)

    def _complete(
        self, factors: Mapping[str, Factors], linears: Mapping[str, Any], sizes: Mapping[str, tuple[int, int]]
    ) -> dict[str, Factors]:
        """Cast to what the layer computes in; a layer that only other tasks change gets zeros."""
        out = {}
        for name in self._layers:
            dtype = linears[name].scales.dtype if "scales" in linears[name] else linears[name].weight.dtype
            rows, size = sizes[name]
            a, b = factors.get(name, (mx.zeros((size, 1)), mx.zeros((1, rows))))
            out[name] = a.astype(dtype), b.astype(dtype)
        return out

    def tasks(self) -> list[str]:
        """List the tasks."""
        return list(self._tasks)

    def use(self, task: str) -> None:
        """Let one task's factors count from now on."""
        for name, (a, b) in self._tasks[task].items():
            self._layers[name].lora_a, self._layers[name].lora_b = a, b


def read_factors(
    folder: Path, sizes: Mapping[str, tuple[int, int]], prefixes: tuple[str, ...] = ()
) -> dict[str, Factors]:
    """Read an adapter's folder -> linear layer: A (in, r), scaled B (r, out), float32.

    `sizes` are (out, in) of every linear layer. Raises ModelNotFoundError, CorruptModelError, UnsupportedModelError.
    """
    path = next((folder / name for name in (PEFT, MLX_LM) if (folder / name).is_file()), None)
    if path is None or not (folder / CONFIG).is_file():
        raise ModelNotFoundError(f"{folder} has no adapter: expected {CONFIG} and {PEFT}")
    try:
        config = json.loads((folder / CONFIG).read_text("utf-8"))
    except ValueError as error:
        raise CorruptModelError(f"{folder / CONFIG} is not JSON: {error}; fetch it again") from error
    check = _check_peft if path.name == PEFT else _check_mlx_lm
    check(config, folder / CONFIG)
    pairs = _pairs(read_tensors([path]), sizes, prefixes, path)
    _check_complete(config, pairs, sizes, path)
    return {module: _scaled(module, *pair, sizes[module], config, path) for module, pair in pairs.items()}


def _size(linear: Any) -> tuple[int, int]:
    """Return (out, in) of a linear layer, quantised or not."""
    rows, size = linear.weight.shape
    return rows, size * 32 // linear.bits if "scales" in linear else size


def _pairs(
    tensors: Mapping[str, mx.array], sizes: Mapping[str, tuple[int, int]], prefixes: tuple[str, ...], path: Path
) -> dict[str, tuple[mx.array, mx.array]]:
    """Pair the tensors -> linear layer: A (in, r), B (r, out)."""
    halves: dict[str, dict[str, mx.array]] = {}
    for name, tensor in tensors.items():
        match = FACTOR.fullmatch(name)
        if match is None:
            raise UnsupportedModelError(
                f"{path}: {name!r} is no LoRA of a linear layer; merge the adapter, then convert"
            )
        module = match["module"]
        short = next((module.removeprefix(p) for p in prefixes if module.startswith(p)), module)
        if short not in sizes:
            raise CorruptModelError(f"{path}: {name!r} has no place in the base, which has no linear layer {short!r}")
        peft = match["part"].isupper()
        halves.setdefault(short, {})[match["part"].lower()] = (tensor.T if peft else tensor).astype(mx.float32)
    if alone := [module for module, half in halves.items() if half.keys() != {"a", "b"}]:
        raise CorruptModelError(f"{path} has one factor alone for {listing(alone[:5])}; save the adapter again")
    return {module: (half["a"], half["b"]) for module, half in halves.items()}


def _scaled(
    module: str, a: mx.array, b: mx.array, size: tuple[int, int], config: Mapping[str, Any], path: Path
) -> Factors:
    """Check a pair's shapes and multiply B by the adapter's scale (PEFT: alpha / r, or alpha / sqrt(r))."""
    rank, scale = _rank_and_scale(module, config)
    if a.shape != (size[1], rank) or b.shape != (rank, size[0]):
        raise CorruptModelError(
            f"{path}: {module!r} {size} has factors A {a.shape[::-1]} and B {b.shape[::-1]}, and {CONFIG} says rank "
            f"{rank}: take the base that the adapter was trained on"
        )
    if not mx.isfinite(a).all() or not mx.isfinite(b).all():
        raise CorruptModelError(f"{path}: the factors of {module!r} hold NaN or infinity; save the adapter again")
    return a, b * scale


def _rank_and_scale(module: str, config: Mapping[str, Any]) -> tuple[int, float]:
    if "lora_parameters" in config:
        return int(config["lora_parameters"]["rank"]), float(config["lora_parameters"]["scale"])
    rank = int(_by_pattern(config.get("rank_pattern"), module, config["r"]))
    alpha = float(_by_pattern(config.get("alpha_pattern"), module, config["lora_alpha"]))
    return rank, alpha / math.sqrt(rank) if config.get("use_rslora") else alpha / rank


def _by_pattern(patterns: Mapping[str, Any] | None, module: str, default: Any) -> Any:
    """Return the value of the first pattern that matches the end of a module's name, as PEFT does."""
    found = (value for name, value in (patterns or {}).items() if re.match(rf"(.*\.)?({name})$", module))
    return next(found, default)


def _check_complete(config: Mapping[str, Any], pairs: Mapping[str, Any], sizes: Mapping[str, Any], path: Path) -> None:
    """Refuse a file that lacks layers which a plain list of target_modules names."""
    targets = config.get("target_modules")
    if not isinstance(targets, list) or config.get("layers_to_transform") or config.get("exclude_modules"):
        return
    ends = tuple(f".{target}" for target in targets)
    if missing := [module for module in sizes if f".{module}".endswith(ends) and module not in pairs]:
        raise CorruptModelError(f"{path} lacks the factors of {listing(missing[:5])}; save the adapter again")


def _check_peft(config: Mapping[str, Any], path: Path) -> None:
    """Refuse by name what is not plain LoRA."""
    if config.get("peft_type") != "LORA":
        raise UnsupportedModelError(f"{path}: peft_type={config.get('peft_type')!r} is not implemented; 'LORA' is")
    odd = [key for key, value in config.items() if value and key not in (*READ, *IDLE)]
    odd += ["bias"] * (config.get("bias", "none") != "none")
    odd += ["init_lora_weights"] * (str(config.get("init_lora_weights", True)).lower() not in INITS)
    if odd:
        pairs = ", ".join(f"{key}={config[key]!r}" for key in sorted(odd))
        raise UnsupportedModelError(f"{path}: {pairs} cannot be switched on and off; convert the merged model instead")
    if missing := [key for key in ("r", "lora_alpha") if not isinstance(config.get(key), int | float)]:
        raise CorruptModelError(f"{path} lacks a number for {listing(missing)}; save the adapter again")


def _check_mlx_lm(config: Mapping[str, Any], path: Path) -> None:
    kind = config.get("fine_tune_type", "lora")
    if kind != "lora":
        raise UnsupportedModelError(f"{path}: fine_tune_type={kind!r} is not implemented; 'lora' is")
    numbers = config.get("lora_parameters") or {}
    if missing := [key for key in ("rank", "scale") if not isinstance(numbers.get(key), int | float)]:
        raise CorruptModelError(f"{path}: lora_parameters lacks a number for {listing(missing)}")
