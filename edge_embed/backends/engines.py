"""Which engines are installed, in which version, and what each was built for."""

from __future__ import annotations

import importlib
import importlib.metadata
from dataclasses import dataclass

from .facts import by_preference, facts


@dataclass(frozen=True)
class Engine:
    """A backend's engine: the package's version (None: not installed), what it can use, and what is amiss with it."""

    backend: str
    package: str
    version: str | None
    uses: tuple[str, ...] = ()
    warning: str | None = None


def engines(features: frozenset[str]) -> list[Engine]:
    """Describe the engine of every backend; `features` is what the processor can, by `device.cpu.FEATURES`' names.

    Loads the engines that are installed, so it takes a second.
    """
    return [_engine(name, features) for name in by_preference()]


def _engine(name: str, features: frozenset[str]) -> Engine:
    known = facts(name)
    if not known.installed:
        return Engine(name, known.package, None)
    version = known.version
    try:
        uses, warning = importlib.import_module(f".{name}.about", __package__).describe(features)
    except Exception as error:  # a broken shared library raises anything, and that is what is to be told
        return Engine(name, known.package, version, (), f"it does not load: {error}")
    return Engine(name, known.package, version, uses, warning)
