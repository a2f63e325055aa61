"""What OpenVINO can compute on."""

from __future__ import annotations

import importlib
from typing import Any


def describe(features: frozenset[str]) -> tuple[tuple[str, ...], str | None]:
    """Return the devices that it finds, of which models use the CPU; nothing is ever amiss with them."""
    openvino: Any = importlib.import_module(".runtime", __package__).openvino
    return tuple(openvino.Core().available_devices), None
