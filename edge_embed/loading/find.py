"""A model reference -> `Repo`: the place is found or fetched, and its folder read.

Of a family of repositories (`user/name`, `-TASK`, `-GGUF`, `-mlx`) the format decides which is taken: the backend's or
the level's own; the one that the name ends in, if its engine is installed; else the one whose levels are fastest here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TypeVar

from edge_embed.device.machine import this_device
from edge_embed.errors import RepositoryAbsentError
from edge_embed.hub import reference as hub
from edge_embed.hub.cache import read_note, snapshot_of, whole
from edge_embed.hub.fetch import Entry, Snapshot
from edge_embed.hub.repository import find_cached, is_offline, listed
from edge_embed.layouts.folder import Repo, checkpoint_files, open_repo, weight_files
from edge_embed.selection.choose import (
    LEAST_TOKENS,
    MODULES,
    Choice,
    batch_budget,
    best_format,
    choose,
    installed,
    peak,
    pick,
)
from edge_embed.selection.speed import Workload
from edge_embed.spec.weights import LEVELS, image_part

from .preview import preview

Found = TypeVar("Found")


@dataclass(frozen=True, kw_only=True)
class Wish:
    """What a model is wanted for, as far as that decides which repository of a family, and which files, are fetched."""

    task: str | None = None
    backend: str = "auto"
    workload: Workload = "bulk"
    max_memory: int | None = None  # bytes
    max_tokens: int | None = None


ANY = Wish()


def find(
    reference: hub.Reference,
    cache_dir: Path | None = None,
    offline: bool | None = None,
    needed: hub.Needed | None = None,
    *,
    wish: Wish = ANY,
) -> Repo:
    """Return the model of a reference; its spec says where it came from, and a repository's commit.

    `needed` lists the files to fetch, as in `hub.resolve`; None: the weights of the reference's level, else those that
    `select` would load. Where these may be too large for the memory, headers are read before anything is fetched.
    Raises InputError or ModelError as `hub.resolve` and `open_repo` do.
    """
    needed = needed or partial(_needed, reference.level, wish, is_offline(offline))
    return _first(reference, wish, offline, lambda place, quiet: _open(place, needed, cache_dir, quiet))


@contextmanager
def look(
    reference: hub.Reference, cache_dir: Path | None = None, offline: bool | None = None, *, wish: Wish = ANY
) -> Iterator[Repo]:
    """Give the model of a reference without fetching weights, to be planned and chosen from, not to be loaded.

    What is in the cache is looked at there; of another repository the folder holds headers (see `hub_headers`).
    """
    needed = partial(_there, reference.level)

    def open_place(place: hub.Reference, quiet: bool | None) -> Repo | tuple[Snapshot, list[Entry]]:
        cached = find_cached(place.place, place.revision, cache_dir) if place.is_repository else None
        if not place.is_repository or (cached and whole(cached, needed, is_offline(quiet))):
            return _open(place, needed, cache_dir, quiet)
        return listed(place.place, place.revision, cache_dir, quiet)

    found = _first(reference, wish, offline, open_place)
    if isinstance(found, Repo):
        yield found
        return
    snapshot, entries = found
    with preview(snapshot, entries) as folder:
        yield open_repo(folder, snapshot.repo.partition("/")[2], snapshot.repo, snapshot.commit)


def why_there(reference: hub.Reference, wish: Wish, folder: Path) -> str:
    """Say of which repository the folder is and why, if it is not the one that was named; else nothing."""
    place = snapshot_of(folder).repo if reference.is_repository else reference.place
    if place == reference.place:
        return ""
    named, wanted = _named(reference.place), _format(reference, wish)
    if wish.backend == "auto" and format_of(reference.level) is None:
        if named and not installed(named):
            return f", from {place}, since {MODULES[named]} is not installed"
        if wanted != named and not wish.task:
            return f", from {place}, since {wanted} is the fastest format that can be run here"
    return f", from {place}"


def format_of(level: str | None) -> str | None:
    """Return the format that a level implies: the only one that has it."""
    formats = [name for name, levels in LEVELS.items() if level in levels]
    return formats[0] if len(formats) == 1 else None


def _first(
    reference: hub.Reference,
    wish: Wish,
    offline: bool | None,
    open_place: Callable[[hub.Reference, bool | None], Found],
) -> Found:
    """Open the first of a family's places that has what is wanted; of equals, a cached one."""
    places = [replace(reference, place=place) for place in _places(reference, wish)]
    free = wish.backend == "auto" and format_of(reference.level) is None
    turns = [(place, True) for place in places] if free and len(places) > 1 else []
    for place, quiet in [*turns, *((place, offline) for place in places[:-1])]:
        try:
            return open_place(place, quiet)
        except RepositoryAbsentError:
            continue
    return open_place(places[-1], offline)


def _places(reference: hub.Reference, wish: Wish) -> list[str]:
    """List the repositories to try, in order, the named one last; a revision means the very one that was named."""
    wanted, named = _format(reference, wish), _named(reference.place)
    if not reference.is_repository or reference.revision is not None:
        return [reference.place]
    if wish.task is None and wanted == (named or "onnx"):
        return [reference.place]
    places = hub.family(reference.place, wish.task, wanted)
    return [*places[: places.index(reference.place)], reference.place]


def _format(reference: hub.Reference, wish: Wish) -> str:
    """Return the format whose repository is looked for."""
    if wish.backend != "auto":
        return wish.backend
    named = _named(reference.place)
    if implied := format_of(reference.level):
        return implied
    return named if named and installed(named) else best_format(reference.level, wish.workload)


def _named(place: str) -> str | None:
    """Return the format that a repository's name ends in."""
    endings = ((form, suffix) for form, suffix in hub.SUFFIXES.items() if suffix)
    return next((form for form, suffix in endings if place.lower().endswith(suffix.lower())), None)


def _needed(level: str | None, wish: Wish, offline: bool, folder: Path, names: Sequence[str]) -> list[str]:
    """List the files to fetch: as `pick` says, and where they take over half of the memory, as a plan says."""
    chosen = weight_files(level, folder, names, partial(pick, workload=wish.workload))
    sizes = {entry.name: entry.size or 0 for entry in read_note(snapshot_of(folder))}
    limit = wish.max_memory or this_device().memory_limit
    small = limit is None or 2 * sum(sizes.get(name, 0) for name in chosen) <= limit
    if level or small or all((folder / name).exists() for name in chosen):
        return chosen
    if there := _there(None, folder, names):
        repo = open_repo(folder)
        choice = _choose(repo, wish)
        if limit and choice.ready and peak(repo, choice.weights, wish.max_tokens, LEAST_TOKENS) <= limit:
            return _files(repo, choice, there)
    if offline:
        return chosen
    with preview(snapshot_of(folder), read_note(snapshot_of(folder))) as headers:
        repo = open_repo(headers)
        choice = _choose(repo, wish)
        if choice.ready:
            longest = min(wish.max_tokens or repo.spec.max_tokens, repo.spec.max_tokens)
            batch_budget(repo, choice.weights, longest, wish.max_memory)  # raises before gigabytes have come
        return _files(repo, choice, names)


def _choose(repo: Repo, wish: Wish) -> Choice:
    limit = wish.max_memory or this_device().memory_limit
    return choose(repo, wish.backend, max_memory=limit, max_tokens=wish.max_tokens, workload=wish.workload)


def _files(repo: Repo, choice: Choice, names: Sequence[str]) -> list[str]:
    """List the files of a choice, the one to open last."""
    if not choice.ready:
        return checkpoint_files(names)
    parts = [choice.weights, *filter(None, [image_part(repo.spec.weights, choice.weights)])]
    listed = [file.path for weights in reversed(parts) for file in reversed(weights.files)]
    data = [name for path in listed for name in names if name.startswith(path) and name != path]
    return [*dict.fromkeys([*data, *listed])]


def _there(level: str | None, folder: Path, names: Sequence[str]) -> list[str]:
    """List the files of weights that are in the folder already, of one level at least; none if there are none."""
    return weight_files(level, folder, [name for name in names if (folder / name).exists()])


def _open(reference: hub.Reference, needed: hub.Needed, cache_dir: Path | None, offline: bool | None) -> Repo:
    repository = reference.is_repository
    path = hub.resolve(reference, needed, cache_dir, offline)
    known = repository or reference.place.startswith(hub.PACKAGE)
    commit = path.name if repository else None  # the hub's cache has a folder for each commit
    return open_repo(path, reference.name, reference.place if known else None, commit)
