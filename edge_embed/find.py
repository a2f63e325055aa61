"""A model reference -> `Repo`: the place is found or fetched, and its folder read."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path

from . import hub
from .errors import ModelNotFoundError
from .repo import Repo, open_repo, weight_files
from .select import pick
from .spec import LEVELS


def find(
    reference: hub.Reference,
    cache_dir: Path | None = None,
    offline: bool | None = None,
    needed: hub.Needed | None = None,
    *,
    task: str | None = None,
    backend: str = "auto",
) -> Repo:
    """Return the model of a reference; its spec says where it came from, and a repository's commit.

    Of a family of repositories (`user/name`, `-TASK`, `-GGUF`, `-mlx`) the one that suits the task, and the backend or
    the level, is looked for first. `needed` lists the files to fetch, as in `hub.resolve`; None: the weights of the
    reference's level, else those that `select.pick` would load.
    Raises InputError or ModelError as `hub.resolve` and `open_repo` do.
    """
    needed = needed or partial(weight_files, reference.level, pick=pick)
    for place in _places(reference, task, backend):
        other = replace(reference, place=place)
        if place == reference.place:
            break
        try:
            return _open(other, needed, cache_dir, offline)
        except ModelNotFoundError as error:
            if not error.absent:
                raise
    return _open(reference, needed, cache_dir, offline)


def _places(reference: hub.Reference, task: str | None, backend: str) -> list[str]:
    """List the repositories to try, in order; a revision means the very repository that was named."""
    wanted = backend if backend != "auto" else format_of(reference.level)
    if not reference.is_repository or reference.revision is not None or (wanted in (None, "onnx") and task is None):
        return [reference.place]
    return hub.family(reference.place, task, wanted or "onnx")


def format_of(level: str | None) -> str | None:
    """Return the format that a level implies: the only one that has it."""
    formats = [name for name, levels in LEVELS.items() if level in levels]
    return formats[0] if len(formats) == 1 else None


def _open(reference: hub.Reference, needed: hub.Needed, cache_dir: Path | None, offline: bool | None) -> Repo:
    repository = reference.is_repository
    path = hub.resolve(reference, needed, cache_dir, offline)
    known = repository or reference.place.startswith(hub.PACKAGE)
    commit = path.name if repository else None  # the hub's cache has a folder for each commit
    return open_repo(path, reference.name, reference.place if known else None, commit)
