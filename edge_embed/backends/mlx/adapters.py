"""LoRA adapters beside a base model: every task's factors stay loaded, and a switch exchanges which ones are used."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import mlx.core as mx
from mlx import nn
from mlx.utils import tree_unflatten

from .adapter_files import Factors, read_factors


class LoRALinear(nn.Module):
    """A linear layer with low-rank factors beside it: W x + B A x, the scale being part of B."""

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
        changed = sorted({name for factors in found.values() for name in factors})
        self._layers = {name: LoRALinear(linears[name]) for name in changed}
        model.update_modules(tree_unflatten(list(self._layers.items())))
        self._tasks = {task: self._complete(factors, linears, sizes) for task, factors in found.items()}
        mx.eval(self._tasks)

    def _complete(
        self, factors: Mapping[str, Factors], linears: Mapping[str, Any], sizes: Mapping[str, tuple[int, int]]
    ) -> dict[str, Factors]:
        """Cast to what the layer computes in; a layer that only other tasks change gets zeros."""
        complete = {}
        for name in self._layers:
            dtype = linears[name].scales.dtype if "scales" in linears[name] else linears[name].weight.dtype
            out_size, in_size = sizes[name]
            a, b = factors.get(name, (mx.zeros((in_size, 1)), mx.zeros((1, out_size))))
            complete[name] = a.astype(dtype), b.astype(dtype)
        return complete

    def tasks(self) -> list[str]:
        """List the tasks."""
        return list(self._tasks)

    def use(self, task: str) -> None:
        """Activate one task's adapter."""
        for name, (a, b) in self._tasks[task].items():
            self._layers[name].lora_a, self._layers[name].lora_b = a, b


def _size(linear: Any) -> tuple[int, int]:
    """Return (out, in) of a linear layer, quantised or not."""
    rows, size = linear.weight.shape
    return rows, size * 32 // linear.bits if "scales" in linear else size
