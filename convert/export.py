"""What a format's exporter is given, and which exporters there are: FORMAT/export.py.

An exporter has LEVELS (all that it writes), ALL (what `FORMAT:all` stands for),
BOUNDS (what `verify` demands of each level), `calibrated(source, levels)`, `image_levels(levels)` (at which the ONNX
image part lies beside them) and `write(export) -> list[Weights]`.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_embed.errors import InputError, MissingDependencyError, listing
from edge_embed.hub.digests import SHA256, digest_of
from edge_embed.remedies.installing import install_extra
from edge_embed.spec.weights import LEVELS, File, Format

from .checkpoint.moments import Moments
from .checkpoint.source import Source


@dataclass(frozen=True, kw_only=True)
class Export:
    """One model to be written at some levels of one format into a folder that exists; `moments` from calibrate().

    With `portable`, what has one gets a form that more readers know beside it.
    """

    folder: Path
    source: Source
    levels: Sequence[str]
    moments: Mapping[str, Moments] | None = None
    group_size: int = 64
    portable: bool = False
    report: Callable[[str], object] = lambda line: None


def formats() -> list[Format]:
    """List the formats that exist, installed or not."""
    folders = {path.parent.name for path in Path(__file__).parent.glob("*/export.py")}
    return sorted(name for name in LEVELS if name in folders)


def exporter(name: str) -> Any:
    """Return a format's module; raise MissingDependencyError with the remedy when what it needs is not installed."""
    try:
        return importlib.import_module(f".{name}.export", __package__)
    except ModuleNotFoundError as error:
        extras = "convert" if name == "onnx" else f"convert,{name}"
        raise MissingDependencyError(
            f"converting to {name} needs {error.name}, which is not installed: {install_extra(extras)}"
        ) from error


def targets(to: Sequence[str]) -> dict[Format, list[str]]:
    """Group `FORMAT:LEVEL` by format; raise InputError, listing what exists, for one that does not."""
    known = formats()
    if not to:
        raise InputError(f"name at least one FORMAT:LEVEL to convert to; formats are {listing(known)}")
    wanted: dict[Format, list[str]] = {}
    for target in to:
        form, _, level = target.partition(":")
        name = next((name for name in known if name == form), None)
        if name is None:
            raise InputError(f"cannot convert to {target!r}: formats are {listing(known)}, as in 'onnx:int8'")
        module = exporter(name)
        if level not in (*module.LEVELS, "all"):
            levels = listing([*module.LEVELS, "all"])
            raise InputError(f"cannot convert to {target!r}: levels of {name} are {levels}")
        wanted.setdefault(name, []).extend(module.ALL if level == "all" else [level])
    return {name: list(dict.fromkeys(levels)) for name, levels in wanted.items()}


def describe(path: Path, folder: Path) -> File:
    """Return a file's path in the folder, SHA-256 and size."""
    return File(path=path.relative_to(folder).as_posix(), sha256=digest_of(path, SHA256), size=path.stat().st_size)


@dataclass(frozen=True, kw_only=True)
class Bound:
    """Least mean and least single cosine to float32; so many `outliers` may lie below that, none below `outlier`.

    One step of rounding that falls elsewhere on another processor moves the vector of a text of few tokens by a lot,
    and none of the others'; what is broken moves several, or the mean.
    """

    mean: float
    min: float
    outliers: int = 0
    outlier: float = 1.0

    def holds(self, cosines: NDArray[np.float32]) -> bool:
        """Whether cosines (n,) are within it; NaN is not."""
        rows = np.sort(cosines)  # NaN comes last, and makes the mean one
        least = self.outlier if self.outliers else self.min
        return bool(cosines.mean() >= self.mean and rows[0] >= least and rows[self.outliers :].min() >= self.min)

    @property
    def least(self) -> str:
        """What single cosines must be, in words."""
        return f"{self.min}, {self.outlier} for {self.outliers}" if self.outliers else f"{self.min}"
