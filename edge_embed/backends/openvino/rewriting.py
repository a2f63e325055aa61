"""What rewrites a graph in place: OpenVINO's operators, and putting one in another's place."""

from __future__ import annotations

from typing import Any

from .runtime import openvino

ops: Any = openvino.opset13


def replace(old: Any, new: Any) -> None:
    """Have whatever reads a node's output read another's."""
    for reader in old.output(0).get_target_inputs():
        reader.replace_source_output(new.output(0))
