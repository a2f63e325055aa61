"""A tensor in memory, and the shape of one that is not."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]


@runtime_checkable
class _Shaped(Protocol):
    def shape(self, name: str) -> tuple[int, ...]: ...


def shape_of(tensors: Mapping[str, Array], name: str) -> tuple[int, ...]:
    """Return a tensor's shape; one of a plain mapping has to be read for it."""
    return tensors.shape(name) if isinstance(tensors, _Shaped) else tensors[name].shape
