"""What follows pooling in some models: Dense modules of sentence-transformers, one after another."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

from .weights import File

Activation = Literal["identity", "tanh", "relu", "sigmoid", "gelu", "silu"]


@dataclass(frozen=True, kw_only=True)
class Dense:
    """One module: activation(W x + b), whose W (out_features, in_features) and b lie in a safetensors file."""

    file: File
    in_features: int
    out_features: int
    bias: bool = True
    activation: Activation = "tanh"


def chain_fault(modules: Sequence[Dense], dim: int) -> str | None:
    """Say which module does not take what the one before it gives, or that the last does not give `dim` numbers."""
    for module, after in pairwise(modules):
        if module.out_features != after.in_features:
            return (
                f"{after.file.path} takes {after.in_features} numbers, {module.file.path} before it gives "
                f"{module.out_features}"
            )
    if modules and modules[-1].out_features != dim:
        return f"{modules[-1].file.path} gives {modules[-1].out_features} numbers, the vectors have {dim}"
    return None
