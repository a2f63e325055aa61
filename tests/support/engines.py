"""Machines and engines other than those that are here: what is known of a backend, changed for one test."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from edge_embed.backends.facts import facts
from edge_embed.spec.weights import Level


def change_facts(patch: pytest.MonkeyPatch, backend: str, **changes: Any) -> None:
    """Let other things be known of a backend, such as `module="no_such_module"`: its engine is not installed."""
    patch.setattr(f"edge_embed.backends.{backend}.FACTS", replace(facts(backend), **changes))


def set_speed(patch: pytest.MonkeyPatch, backend: str, level: Level, speed: tuple[float, float]) -> None:
    """Take a level for so many times as fast as float32 in ONNX Runtime, on every machine: in bulk, one text alone."""
    known = facts(backend).speeds
    change_facts(patch, backend, speeds={machine: {**levels, level: speed} for machine, levels in known.items()})
