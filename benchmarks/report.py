"""What a benchmark found: tables for people, figures for machines, and the machine on which it was measured."""

from __future__ import annotations

import importlib.metadata
import json
import platform
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from edge_embed.device.machine import this_device

PACKAGES = (
    "edge-embed",
    "onnxruntime",
    "llama-cpp-python",
    "mlx",
    "numpy",
    "tokenizers",
    "torch",
    "transformers",
    "sentence-transformers",
)


class Table:
    """A Markdown table, built row by row."""

    def __init__(self, *columns: str) -> None:
        self._rows: list[tuple[str, ...]] = [columns, ("---",) * len(columns)]

    def add(self, *cells: str) -> None:
        """Add a row."""
        if len(cells) != len(self._rows[0]):
            raise ValueError(f"{len(cells)} cells for {len(self._rows[0])} columns: {cells}")
        self._rows.append(cells)

    def __str__(self) -> str:
        return "\n".join(f"| {' | '.join(cells)} |" for cells in self._rows)


@dataclass(frozen=True)
class Report:
    """The outcome of a benchmark: tables and remarks in the order in which they are printed, and figures as JSON."""

    parts: Sequence[Table | str]
    figures: dict[str, Any]

    def show(self, name: str) -> None:
        """Print the parts, the machine, and one JSON line at the end."""
        device = machine()
        for part in self.parts:
            print(part, end="\n\n")
        print(describe(device), end="\n\n")
        print(json.dumps({"benchmark": name, "machine": device, **self.figures}), flush=True)


def progress(*cells: object) -> None:
    """Tell on standard error what a long benchmark has just found, so that an interrupted one was not in vain."""
    print(*cells, sep=" | ", file=sys.stderr, flush=True)


def machine() -> dict[str, Any]:
    """Describe this machine and the releases of what is measured; other interpreters' packages are not seen."""
    device = this_device()
    return {
        "processor": device.processor,
        "features": sorted(device.features),
        "cores": device.cores,
        "cpus": device.cpus,
        "quota": device.quota,
        "memory": device.memory,
        "system": platform.platform(),
        "python": platform.python_version(),
        "versions": {name: version for name in PACKAGES if (version := _version(name))},
    }


def describe(device: dict[str, Any]) -> str:
    """Put `machine()` into one line."""
    versions = ", ".join(f"{name} {version}" for name, version in device["versions"].items())
    features = f" ({', '.join(device['features'])})" if device["features"] else ""
    cores = f"{device['cores']} cores, {device['cpus']} CPUs usable"
    return f"{device['processor']}{features}, {cores}; {device['system']}, Python {device['python']}, {versions}"


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None
