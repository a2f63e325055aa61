"""A checkpoint in which LoRA factors of several tasks lie beside each weight, and one task's, or none, merged into it.

jina-embeddings-v3 (Sturua et al. 2024, arXiv 2409.10173) is published so, as torch's parametrizations name tensors.
NumPy only; no PyTorch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from edge_embed.errors import CorruptModelError
from edge_embed.spec.values import real, whole

from .arrays import Array, shape_of
from .derived import Derived

BESIDE = ".parametrizations."
WEIGHT, A, B = ".original", ".0.lora_A", ".0.lora_B"  # after the parameter's name
CONFIG = "config.json"


def one_task(
    tensors: Mapping[str, Array], config: Mapping[str, Any], tasks: Sequence[str], task: str | None
) -> Mapping[str, Array]:
    """Return the weights with a task's factors merged, or without (None), under the names that they have alone.

    Factors of a linear layer (out, in) are (tasks, rank, in) and (tasks, out, rank), and the second times the first is
    added, times alpha over rank; those of a table (rows, dim) are (tasks, rows, rank) and (tasks, rank, dim).
    Raises CorruptModelError, from names and shapes, where factors and weights contradict one another.
    """
    if not tasks:
        return tensors
    rank, alpha = whole(config, "lora_rank", CONFIG), real(config, "lora_alpha", CONFIG, 1.0)
    return _OneTask(tensors, len(tasks), None if task is None else tasks.index(task), rank, alpha / rank)


class _OneTask(Derived):
    def __init__(self, tensors: Mapping[str, Array], tasks: int, task: int | None, rank: int, scale: float) -> None:
        super().__init__(tensors)
        self._stems = {_plain(name): name.removesuffix(WEIGHT) for name in tensors if _is_weight(name)}
        if not self._stems:
            raise CorruptModelError(
                f"{CONFIG} has lora_adaptations, and no tensor is called '*{BESIDE}weight{WEIGHT}': leave them out of "
                "config.json if the weights are merged"
            )
        alone = {name for name in tensors if BESIDE not in name}
        parts = {stem + end for stem in self._stems.values() for end in (WEIGHT, A, B)}
        if odd := sorted({name for name in tensors if BESIDE in name} ^ parts):
            raise CorruptModelError(
                f"tensor {odd[0]!r} {'lacks its fellows' if odd[0] in tensors else 'is missing'}: each weight that has "
                f"factors is three tensors, '{BESIDE}weight{WEIGHT}', '{A}' and '{B}'; fetch the checkpoint again"
            )
        if twice := sorted(alone & self._stems.keys()):
            raise CorruptModelError(f"tensor {twice[0]!r} is there with factors of tasks, and without")
        self._names = dict.fromkeys([*self._stems, *sorted(alone)])
        self._task, self._scale = task, scale
        self._tables = {name for name, stem in self._stems.items() if self._is_table(stem, tasks, rank)}

    def __getitem__(self, name: str) -> Array:
        if name not in self._stems:
            return self._tensors[name]
        stem = self._stems[name]
        weight = np.asarray(self._tensors[stem + WEIGHT], np.float32)
        if self._task is None:
            return weight
        a, b = (self._tensors[stem + end][self._task] for end in (A, B))
        first, second = (a, b) if name in self._tables else (b, a)
        with np.errstate(all="ignore"):  # what is not finite is reported below, by name
            merged: Array = np.matmul(first, second * np.float32(self._scale))
            merged += weight
        if not np.isfinite(merged).all():
            raise CorruptModelError(f"tensor {name!r} holds NaN or infinity once merged; fetch the checkpoint again")
        return merged

    def shape(self, name: str) -> tuple[int, ...]:
        return shape_of(self._tensors, self._stems[name] + WEIGHT if name in self._stems else name)

    def _is_table(self, stem: str, tasks: int, rank: int) -> bool:
        """Whether a weight's factors are a table's; raise CorruptModelError for those that are no layer's either."""
        rows, *rest = shape = shape_of(self._tensors, stem + WEIGHT)
        found = tuple(shape_of(self._tensors, stem + end) for end in (A, B))
        if len(rest) == 1:
            layer = (tasks, rank, rest[0]), (tasks, rows, rank)
            table = (tasks, rows, rank), (tasks, rank, rest[0])
            if found in (layer, table):
                return found != layer
        raise CorruptModelError(
            f"tensors '{stem}{A}' {found[0]} and '{B}' {found[1]} are no factors of {tasks} tasks at rank {rank} for "
            f"a weight {shape}: config.json says so by lora_adaptations and lora_rank"
        )


def _is_weight(name: str) -> bool:
    return BESIDE in name and name.endswith(WEIGHT)


def _plain(name: str) -> str:
    """Return `x.weight` for `x.parametrizations.weight.original`."""
    return name.replace(BESIDE, ".").removesuffix(WEIGHT)
