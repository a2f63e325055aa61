"""What is known of each backend without loading its engine: `FACTS` in its folder's `__init__.py`."""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.util
import pkgutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Literal

from edge_embed.errors import InputError, listing
from edge_embed.remedies.installing import install_extra, install_package
from edge_embed.spec.weights import LEVELS, Format, Level, Weights

Machine = Literal["vnni", "cpu", "apple"]  # an x86 with 8-bit dot products, any other processor, Apple Silicon
Speed = tuple[float, float]  # texts per second relative to float32 in ONNX Runtime: in bulk, one short text alone
FASTEST = "fastest"  # in place of a name, as "auto": with what is converted first where that is faster
UNKNOWN_SPEED: Speed = (0.4, 0.4)


@dataclass(frozen=True, kw_only=True)
class Facts:
    """What a backend can run, what it needs, and what it is known to give.

    `extra` is the one of ours that installs it, None where the base install does. `floor` is the lowest precision that
    is chosen without being asked for. `converts` are the levels that a checkpoint is converted to without being asked;
    `reads_checkpoints`: it runs an original checkpoint as it is. Other people's files at the levels of `own_only` are
    not chosen unasked; where `unasked` is false nothing is, and the backend runs where it is named. `portable`: it
    reads our graphs in the form of standard operators. `spin`: how long a thread that waits for the others does so
    before it sleeps, None where we do not say it. `speeds` are priors for v5-nano's shape, by machine and level;
    `runtime` is what Python, NumPy, the tokenizer library and the engine take, in bytes.
    """

    format: Format
    module: str
    package: str
    extra: str | None
    floor: Level
    runtime: int
    converts: tuple[Level, ...]
    reads_checkpoints: bool = False
    portable: bool = False
    spin: str | None = None
    unasked: bool = True
    own_only: tuple[Level, ...] = ()
    speeds: Mapping[Machine, Mapping[Level, Speed]] = field(default_factory=dict)

    @property
    def installed(self) -> bool:
        """Whether the engine can be imported."""
        return importlib.util.find_spec(self.module) is not None

    @property
    def version(self) -> str:
        """The release of the engine, whichever package brings its module: onnxruntime-gpu brings onnxruntime's."""
        try:
            return importlib.metadata.version(self.package)
        except importlib.metadata.PackageNotFoundError:
            others = importlib.metadata.packages_distributions().get(self.module.partition(".")[0], [])
            return importlib.metadata.version(others[0]) if others else "unknown"

    @property
    def install(self) -> str:
        """The command that installs it."""
        return install_extra(self.extra) if self.extra else install_package(self.package)

    @property
    def levels(self) -> Sequence[Level]:
        """The levels that are chosen without being asked for, the highest precision first."""
        levels = LEVELS[self.format]
        return levels[: levels.index(self.floor) + 1]

    def speed(self, machine: Machine, level: Level) -> Speed:
        """Return how fast a level is known to be on such machines."""
        return self.speeds.get(machine, {}).get(level, UNKNOWN_SPEED)

    def allowed_unasked(self, weights: Weights) -> bool:
        """Whether weights may be chosen unasked: not below the floor, and of ours where others' vectors are not exact.

        Nor such as their maker kept although they fell below their level's bound.

        Other people's int8 graphs have one activation scale for a batch, so that a vector depends on its neighbours.
        """
        if weights.fidelity is None:
            return weights.level in self.levels and weights.level not in self.own_only
        return weights.level in self.levels and weights.fidelity.accepted is None


@cache
def names() -> tuple[str, ...]:
    """List the backends that exist, installed or not."""
    package = importlib.import_module(__package__)
    return tuple(sorted(module.name for module in pkgutil.iter_modules(package.__path__) if module.ispkg))


def facts(name: str) -> Facts:
    """Return what is known of a backend; raise InputError, listing those that exist, for an unknown one."""
    check(name)
    found: Facts = importlib.import_module(f".{name}", __package__).FACTS
    return found


def check(name: str) -> None:
    """Raise InputError when no backend has that name."""
    if name not in names():
        raise InputError(f"unknown backend {name!r}: choose from {listing(['auto', FASTEST, *names()])}")


def by_preference() -> list[str]:
    """List the backends, those of the base install first."""
    return sorted(names(), key=lambda name: (facts(name).extra is not None, name))


def running(format: Format) -> list[str]:
    """List the backends that run a format; those that are installed first, then the one that the format is named by."""
    found = [name for name in names() if facts(name).format == format]
    return sorted(found, key=lambda name: (not facts(name).installed, name != format, name))
