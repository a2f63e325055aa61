"""A LoRA adapter's folder -> the factors of each linear layer, from PEFT's files or mlx-lm's.

Plain LoRA on linear layers alone; what would need the base's weights to be changed is refused: such an adapter has to
be merged.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import mlx.core as mx

from edge_embed.errors import CorruptModelError, ModelNotFoundError, UnsupportedModelError, listing
from edge_embed.formats.json_file import read_object
from edge_embed.formats.peft import CONFIG, LARGEST_ALPHA, WEIGHTS, LoraConfig, read_lora_config, sort_tensors

from .weights import read_tensors

MLX_LM = "adapters.safetensors"
MLX_LM_FACTOR = re.compile(r"(?P<module>.+)\.lora_(?P<part>[ab])")  # a (in, r), b (r, out)
# What PEFT may do beside the factors, which a switch between tasks would have to take back.
PLAIN = {"bias": "none", "lora_bias": False, "use_dora": False, "fan_in_fan_out": False, "modules_to_save": ()}
Size = tuple[int, int]
Factors = tuple[mx.array, mx.array]


def read_factors(folder: Path, sizes: Mapping[str, Size], prefixes: tuple[str, ...] = ()) -> dict[str, Factors]:
    """Read an adapter's folder -> linear layer: A (in, r), scaled B (r, out), float32.

    `sizes` are (out, in) of every linear layer; the adapter may know it under one of the `prefixes`.
    Raises ModelNotFoundError, CorruptModelError, UnsupportedModelError.
    """
    path = next((folder / name for name in (WEIGHTS, MLX_LM) if (folder / name).is_file()), None)
    if path is None or not (folder / CONFIG).is_file():
        raise ModelNotFoundError(f"{folder} has no adapter: expected {CONFIG} and {WEIGHTS}")
    read = _read_peft if path.name == WEIGHTS else _read_mlx_lm
    return read(path, sizes, prefixes)


def _read_peft(path: Path, sizes: Mapping[str, Size], prefixes: tuple[str, ...]) -> dict[str, Factors]:
    config = read_lora_config(path.with_name(CONFIG))
    _check_plain(config)
    tensors = read_tensors([path])
    parts, replacements = sort_tensors(tensors)
    others = [tensor for own in parts.values() for part, tensor in own.items() if part not in ("lora_A", "lora_B")]
    _refuse([*replacements.values(), *others], path)
    modules = {_layer(module, next(iter(own.values())), sizes, prefixes, path): module for module, own in parts.items()}
    if len(modules) < len(parts):
        raise CorruptModelError(f"{path} has factors of one layer under two names; save one adapter a file")
    _check_pairs({layer: len(parts[module]) for layer, module in modules.items()}, path)
    _check_targets(config, modules, sizes, path)
    return {
        layer: _scaled(
            layer,
            (tensors[parts[module]["lora_A"]].T, tensors[parts[module]["lora_B"]].T),
            sizes[layer],
            (config.rank(module), config.scale(module)),
            path,
        )
        for layer, module in modules.items()
    }


def _read_mlx_lm(path: Path, sizes: Mapping[str, Size], prefixes: tuple[str, ...]) -> dict[str, Factors]:
    rank, scale = _mlx_lm_numbers(path.with_name(CONFIG))
    halves: dict[str, dict[str, mx.array]] = {}
    tensors = read_tensors([path])
    _refuse([name for name in tensors if not MLX_LM_FACTOR.fullmatch(name)], path)
    for name, tensor in tensors.items():
        module, _, part = name.rpartition(".lora_")
        halves.setdefault(_layer(module, name, sizes, prefixes, path), {})[part] = tensor
    _check_pairs({layer: len(half) for layer, half in halves.items()}, path)
    return {
        layer: _scaled(layer, (half["a"], half["b"]), sizes[layer], (rank, scale), path)
        for layer, half in halves.items()
    }


def _layer(module: str, tensor: str, sizes: Mapping[str, Size], prefixes: tuple[str, ...], path: Path) -> str:
    """Return the name of the base's linear layer for a module of the adapter."""
    layer = next((module.removeprefix(prefix) for prefix in prefixes if module.startswith(prefix)), module)
    if layer not in sizes:
        raise CorruptModelError(f"{path}: {tensor!r} has no place in the base, which has no linear layer {layer!r}")
    return layer


def _scaled(layer: str, factors: Factors, size: Size, numbers: tuple[int, float], path: Path) -> Factors:
    """Check a layer's factors against its size (out, in) and their rank, and multiply B by the scale."""
    (a, b), (rank, scale) = (factor.astype(mx.float32) for factor in factors), numbers
    if a.shape != (size[1], rank) or b.shape != (rank, size[0]):
        raise CorruptModelError(
            f"{path}: {layer!r} {size} has factors A {a.shape[::-1]} and B {b.shape[::-1]}, and {CONFIG} says rank "
            f"{rank}: take the base that the adapter was trained on"
        )
    if not mx.isfinite(a).all() or not mx.isfinite(b).all():
        raise CorruptModelError(f"{path}: the factors of {layer!r} hold NaN or infinity; save the adapter again")
    return a, b * scale


def _check_plain(config: LoraConfig) -> None:
    """Refuse by name what is not plain LoRA on linear layers."""
    if odd := {key: value for key, plain in PLAIN.items() if (value := getattr(config, key)) != plain}:
        pairs = (f"{key}={[*value] if isinstance(value, tuple) else value!r}" for key, value in sorted(odd.items()))
        raise UnsupportedModelError(
            f"{config.path}: {', '.join(pairs)} cannot be switched on and off; convert the merged model instead"
        )


def _check_pairs(parts: Mapping[str, int], path: Path) -> None:
    if alone := [layer for layer, count in parts.items() if count != 2]:
        raise CorruptModelError(f"{path} has one factor alone for {listing(alone[:5])}; save the adapter again")


def _check_targets(config: LoraConfig, modules: Mapping[str, str], sizes: Mapping[str, Size], path: Path) -> None:
    """Refuse a file that lacks layers which the config names, or has others; `modules` are those of the file's layers.

    What "all-linear" leaves out depends on the class of the model that was trained: there a layer more is taken.
    """
    prefix = next((module.removesuffix(layer) for layer, module in modules.items()), "")
    targeted = [layer for layer in sizes if config.targets(modules.get(layer, prefix + layer), 2)]
    if missing := [layer for layer in targeted if layer not in modules]:
        raise CorruptModelError(f"{path} lacks the factors of {listing(missing[:5])}; save the adapter again")
    if odd := [layer for layer in modules if layer not in targeted and not config.all_linear]:
        raise CorruptModelError(f"{path} has factors of {listing(odd[:5])}: {CONFIG} puts no LoRA there; save it again")


def _refuse(names: list[str], path: Path) -> None:
    if names:
        raise UnsupportedModelError(
            f"{path}: {names[0]!r} is no LoRA of a linear layer; merge the adapter, then convert"
        )


def _mlx_lm_numbers(path: Path) -> tuple[int, float]:
    """Return the rank and the scale of all of an mlx-lm adapter's factors."""
    config = read_object(path)
    kind = config.get("fine_tune_type", "lora")
    if kind != "lora":
        raise UnsupportedModelError(f"{path}: fine_tune_type={kind!r} is not implemented; 'lora' is")
    numbers = config.get("lora_parameters")
    numbers = numbers if isinstance(numbers, dict) else {}
    rank, scale = numbers.get("rank"), numbers.get("scale")
    if type(rank) is not int or rank < 1:
        raise CorruptModelError(f"{path}: lora_parameters has rank={rank!r}; a whole number above 0 is needed")
    if not isinstance(scale, int | float) or not abs(scale) < LARGEST_ALPHA:
        raise CorruptModelError(f"{path}: lora_parameters has scale={scale!r}; a number is needed")
    return rank, float(scale)
