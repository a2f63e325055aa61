"""safetensors files -> an MLX model with its weights, quantised where the file's tensors are.

Names and shapes are compared with config.json before any weight is read.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mlx.core as mx
from mlx import nn
from mlx.utils import tree_flatten

from edge_embed.architectures import _omni, settled
from edge_embed.architectures._renamed import places
from edge_embed.errors import CorruptModelError, UnsupportedModelError, listing
from edge_embed.formats.safetensors import safetensors_header
from edge_embed.spec.weights import Part

from .models import PartModel, build

PLAIN = "model.safetensors"  # mlx-lm: the file that `quantization` in config.json describes
FLOATS = {mx.float32: "F32", mx.float16: "F16", mx.bfloat16: "BF16"}
UNREADABLE = ("F64", "F8_E4M3", "F8_E5M2")  # MLX refuses the file, and does not say for which tensor
BITS, GROUPS = (2, 3, 4, 5, 6, 8), (32, 64, 128)
Shape = tuple[int, ...]


@dataclass(frozen=True)
class Quantisation:
    """How the rows of one weight are stored: integers of `bits`, one scale and bias for `group_size` of them."""

    group_size: int
    bits: int


def load_model(paths: Sequence[Path], config: Mapping[str, Any], model_type: str, kind: Part = "text") -> Any:
    """Build a part's model and give it its weights, on a CPU in float32, else as the files store them.

    A CPU multiplies float16 and bfloat16 no faster, and quantised weights with such scales 50 times slower.
    Raises CorruptModelError or UnsupportedModelError that names the tensor.
    """
    stored = read_tensors(paths)
    if (own := config.get("model_type")) in _omni.TYPES:
        config, named = _omni.text_config(config), _omni.text_tensors(own, stored)
        stored = {name: stored[tensor] for name, tensor in named.items()}
    config = settled({**config, "model_type": model_type}, stored)
    part = build(model_type, config, kind)
    model = part.model
    shapes = {name: value.shape for name, value in dict(tree_flatten(model.parameters())).items()}
    tensors = _named(stored, part, shapes)
    quantised = _quantised(tensors, shapes, paths[0])
    _check_config(quantised, config, part, paths[0])
    _check_plain(tensors, shapes, quantised, paths[0])
    if quantised:
        nn.quantize(model, class_predicate=lambda path, _: vars(quantised[path]) if path in quantised else False)
    if mx.default_device() == mx.cpu:
        tensors = {name: x if x.dtype == mx.uint32 else x.astype(mx.float32) for name, x in tensors.items()}
    model.load_weights(list(tensors.items()))
    model.eval()
    # Modules draw random weights that nothing computes; the key that they split would remember every draw for ever.
    mx.eval(model.parameters(), mx.random.state)
    return model


def read_tensors(paths: Sequence[Path]) -> dict[str, mx.array]:
    """Open the files; MLX reads a tensor when it is needed."""
    tensors: dict[str, mx.array] = {}
    for path in paths:
        header = safetensors_header(path)
        if odd := [name for name, entry in header.items() if entry.get("dtype") in UNREADABLE]:
            raise UnsupportedModelError(_odd_dtype(path, odd[0], header[odd[0]]["dtype"]))
        try:
            tensors |= mx.load(str(path))  # type: ignore[arg-type]
        except RuntimeError as error:
            raise CorruptModelError(f"{path} is not a whole safetensors file: {error}; fetch it again") from error
    return tensors


def _odd_dtype(path: Path, name: str, dtype: object) -> str:
    return f"{path}: tensor {name!r} is {dtype}; only {listing(FLOATS.values())} can be read. Convert it again"


def _named(tensors: Mapping[str, mx.array], part: PartModel, shapes: Mapping[str, Shape]) -> dict[str, mx.array]:
    """Name a part's tensors as its model does, and bring convolutions that have channels last, MLX's way, to ours."""
    lying = places(tensors, part.prefixes, part.renamed)
    named = {part.plain(name): place.of(tensors[place.tensor]) for name, place in lying.items() if part.reads(name)}
    for name, tensor in named.items():
        if tensor.ndim == 4 and shapes.get(name) == (turned := tensor.moveaxis(-1, 1)).shape != tensor.shape:
            named[name] = turned
    return named


def _quantised(tensors: Mapping[str, mx.array], shapes: Mapping[str, Shape], path: Path) -> dict[str, Quantisation]:
    """Find the quantised modules, and from their shapes how they are quantised."""
    found = {}
    for name in tensors:
        if not name.endswith(".scales"):
            continue
        module = name.removesuffix(".scales")
        weight, biases = tensors.get(f"{module}.weight"), tensors.get(f"{module}.biases")
        shape = shapes.get(f"{module}.weight")
        if shape is None or len(shape) != 2 or weight is None:
            raise CorruptModelError(f"{path}: {name!r} belongs to no matrix that config.json calls for")
        if biases is None:
            raise UnsupportedModelError(
                f"{path}: {name!r} has no '.biases' beside it; only MLX's affine mode can be read"
            )
        found[module] = _quantisation(f"{path}: tensor '{module}.weight'", weight, tensors[name], biases, shape)
    return found


def _quantisation(tensor: str, weight: mx.array, scales: mx.array, biases: mx.array, shape: Shape) -> Quantisation:
    """Return the bits and the group size that turn the stored shapes into (rows, size)."""
    rows, size = shape
    bits, odd_bits = divmod(32 * weight.shape[-1], size)
    group, odd_group = divmod(size, scales.shape[-1])
    known = bits in BITS and group in GROUPS and weight.dtype == mx.uint32 and not odd_bits and not odd_group
    if not known or weight.shape[:-1] != (rows,) or scales.shape[:-1] != (rows,) or scales.shape != biases.shape:
        raise CorruptModelError(
            f"{tensor} {weight.shape} {weight.dtype} with scales {scales.shape} and biases {biases.shape} is no "
            f"quantisation of {shape}: bits are {', '.join(map(str, BITS))}, groups {', '.join(map(str, GROUPS))}"
        )
    return Quantisation(group, bits)


def _check_config(
    quantised: Mapping[str, Quantisation], config: Mapping[str, Any], part: PartModel, path: Path
) -> None:
    """Refuse a config.json that says otherwise; it may speak of single modules, with or without a prefix."""
    quantization = config.get("quantization")
    if path.name != PLAIN or not isinstance(quantization, dict):
        return
    if (mode := quantization.get("mode", "affine")) != "affine":
        raise UnsupportedModelError(f"config.json: quantization mode {mode!r} is not implemented; 'affine' is")
    lying = places((f"{name}.weight" for name in quantization), part.prefixes, part.renamed)
    single = {
        part.plain(name).removesuffix(".weight"): quantization[place.tensor.removesuffix(".weight")]
        for name, place in lying.items()
    }
    for module, found in quantised.items():
        own = single.get(module)
        wanted = own if isinstance(own, dict) else quantization
        if any(wanted.get(key, value) != value for key, value in vars(found).items()):
            raise CorruptModelError(
                f"{path}: tensor '{module}.weight' is quantised with {found.bits} bits in groups of "
                f"{found.group_size}, config.json says {wanted.get('bits')} in groups of {wanted.get('group_size')}"
            )


def _check_plain(
    tensors: Mapping[str, mx.array],
    shapes: Mapping[str, Shape],
    quantised: Mapping[str, Quantisation],
    path: Path,
) -> None:
    """Refuse tensors that are missing, that have no place, or that have another shape."""
    parts = {f"{module}.{part}" for module in quantised for part in ("weight", "scales", "biases")}
    if missing := [name for name in shapes if name not in tensors]:
        raise CorruptModelError(
            f"{path} lacks {len(missing)} tensors that config.json calls for: {listing(missing[:5])}"
        )
    if extra := [name for name in tensors if name not in shapes and name not in parts]:
        raise UnsupportedModelError(
            f"{path}: {len(extra)} tensors have no place in this architecture: {listing(extra[:5])}"
        )
    for name in shapes.keys() - parts:
        if tensors[name].shape != shapes[name]:
            raise CorruptModelError(
                f"{path}: tensor {name!r} has shape {tensors[name].shape}, config.json calls for {shapes[name]}"
            )
        if tensors[name].dtype == mx.uint32:
            raise CorruptModelError(f"{path}: tensor {name!r} is quantised, and '.scales' of it are not there")
        if tensors[name].dtype not in FLOATS:
            raise UnsupportedModelError(_odd_dtype(path, name, tensors[name].dtype))
