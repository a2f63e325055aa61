"""Rows of hidden states -> vectors: pooling, and the Dense modules that follow it in some models."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edge_embed.backends import ComputesDense, Rows, TextBackend
from edge_embed.errors import CorruptModelError, UnsupportedModelError
from edge_embed.formats.safetensors import map_tensors
from edge_embed.spec.dense import Activation, Dense
from edge_embed.spec.model import ModelSpec, Pooling

from .pooling import pool

Array = NDArray[np.float32]


def _sigmoid(x: Array) -> Array:
    small: Array = np.exp(-np.abs(x))  # of a large negative number exp overflows
    return np.where(x >= 0, 1 / (1 + small), small / (1 + small))


def _gelu(x: Array) -> Array:
    wide = x / math.sqrt(2)
    errors = np.fromiter(map(math.erf, wide.ravel().tolist()), np.float32, wide.size).reshape(x.shape)
    scaled: Array = 0.5 * x * (1 + errors)
    return scaled


ACTIVATIONS: dict[Activation, Callable[[Array], Array]] = {
    "identity": lambda x: x,
    "tanh": np.tanh,
    "relu": lambda x: np.maximum(x, 0),
    "sigmoid": _sigmoid,
    "gelu": _gelu,
    "silu": lambda x: x * _sigmoid(x),
}


@dataclass(frozen=True)
class Layer:
    """A Dense module with its weights (out, in), and its bias (out,) if it has one."""

    weight: Array
    bias: Array | None
    activation: Activation

    def __call__(self, vectors: Array) -> Array:
        """Map vectors (n, in) to (n, out), each by itself: BLAS sums in another order where there are several."""
        out = np.stack([self.weight @ vector for vector in vectors])
        if self.bias is not None:
            out += self.bias
        return ACTIVATIONS[self.activation](out)


@dataclass(frozen=True)
class Head:
    """What makes vectors of rows."""

    pooling: Pooling
    layers: Sequence[Layer] = ()

    def pool(self, rows: Rows, skip: int = 0) -> Array:
        """Pool rows (tokens, dim) of one input, of which the first `skip` are left out -> (dim,)."""
        return pool(rows, self.pooling, skip)

    def finish(self, pooled: Array) -> Array:
        """Map pooled vectors (n, width) to (n, dim)."""
        for layer in self.layers:
            pooled = layer(pooled)
        return pooled


def read_head(folder: Path, spec: ModelSpec, backend: TextBackend | None = None) -> Head:
    """Read the weights of a model's Dense modules, unless a backend's rows went through them; raises as `read_layer`.

    Raises UnsupportedModelError for such rows where pooling is not linear.
    """
    if not (isinstance(backend, ComputesDense) and backend.computes_dense):
        return Head(spec.pooling, [read_layer(folder / module.file.path, module) for module in spec.dense])
    if spec.pooling == "max":
        raise UnsupportedModelError(
            f"{folder}: pooling 'max' comes before the Dense modules, and {backend.engine} computes them before it: "
            "choose another format"
        )
    return Head(spec.pooling)


def read_layer(path: Path, module: Dense) -> Layer:
    """Read a module's weights; raise CorruptModelError for those that are missing or of another shape."""
    tensors = map_tensors(path)
    shapes: dict[str, tuple[int, ...]] = {"linear.weight": (module.out_features, module.in_features)}
    shapes |= {"linear.bias": (module.out_features,)} if module.bias else {}
    if odd := tensors.keys() - shapes.keys():
        raise UnsupportedModelError(
            f"{path} holds {sorted(odd)[0]!r:.80}, which a Dense module as config.json has it lacks"
        )
    found = {}
    for name, shape in shapes.items():
        tensor = tensors.get(name)
        if tensor is None or tensor.shape != shape:
            has = "no such tensor" if tensor is None else f"shape {tensor.shape}"
            raise CorruptModelError(f"{path}: {name} should have the shape {shape}, there is {has}")
        found[name] = np.array(tensor, np.float32)
        if not np.isfinite(found[name]).all():
            raise CorruptModelError(f"{path}: {name} holds NaN or infinity")
    return Layer(found["linear.weight"], found.get("linear.bias"), module.activation)
