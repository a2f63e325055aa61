"""A model reference -> `Repo`: the place is found or fetched, and its folder read."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from . import hub
from .repo import Repo, open_repo, weight_files


def find(
    reference: hub.Reference,
    cache_dir: Path | None = None,
    offline: bool | None = None,
    needed: hub.Needed | None = None,
) -> Repo:
    """Return the model of a reference; its spec says where it came from, and a repository's commit.

    `needed` lists the files to fetch, as in `hub.resolve`; None: the weights of the reference's level.
    Raises InputError or ModelError as `hub.resolve` and `open_repo` do.
    """
    repository = reference.is_repository
    path = hub.resolve(reference, needed or partial(weight_files, reference.level), cache_dir, offline)
    known = repository or reference.place.startswith(hub.PACKAGE)
    commit = path.name if repository else None  # the hub's cache has a folder for each commit
    return open_repo(path, reference.name, reference.place if known else None, commit)
