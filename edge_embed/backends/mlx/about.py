"""What MLX computes on."""

from __future__ import annotations

import importlib
from typing import Any


def describe(features: frozenset[str]) -> tuple[tuple[str, ...], str | None]:
    """Return Metal where there is a GPU of Apple's, else the CPU."""
    core: Any = importlib.import_module("mlx.core")
    return ("Metal",) if core.metal.is_available() else ("CPU",), None
