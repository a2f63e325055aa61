"""What ONNX Runtime can compute on."""

from __future__ import annotations

import importlib
from typing import Any


def describe(features: frozenset[str]) -> tuple[tuple[str, ...], str | None]:
    """Return the names of its execution providers on this machine; nothing is ever amiss with them."""
    ort: Any = importlib.import_module(".runtime", __package__).ort
    names = [name for name in ort.get_available_providers() if "Azure" not in name]  # which is not on this machine
    return tuple(name.removesuffix("ExecutionProvider") for name in names), None
