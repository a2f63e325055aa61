"""`user/repo` at a revision -> its folder in the hub's cache, where it is looked up first; fetched, if it is not there.

Every failure of the hub ends as an error that says what to do.
"""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from edge_embed.errors import CorruptModelError, EdgeEmbedError, ModelNotFoundError, RepositoryAbsentError, listing

from .cache import META, ROOTS, Needed, whole, write_note
from .fetch import Answer, Entry, Snapshot, busy, cache_folder, fetch_file, patiently, remaining

logger = logging.getLogger(__name__)


def repository(
    repo: str, revision: str | None, level: str | None, needed: Needed, cache_dir: Path | None, offline: bool | None
) -> Path:
    """Return a repository's folder in the cache, fetching what it lacks; the `level` is for messages alone.

    Raises ModelNotFoundError for every failure of the hub, CorruptModelError for bytes that are not the hub's.
    """
    cached = find_cached(repo, revision, cache_dir)
    offline = is_offline(offline)
    if cached and whole(cached, needed, trust=offline):
        return cached
    if offline:
        raise RepositoryAbsentError(
            f"{repo} is not whole in the cache, and offline mode is on: fetch it with a network"
        )
    try:
        return explained(lambda: _fetch(repo, revision, level, needed, cache_dir), repo, revision)
    except CorruptModelError:
        raise
    except ModelNotFoundError:
        # Perhaps another tool fetched it, and the hub cannot say whether that is all.
        if (cached := find_cached(repo, revision, cache_dir)) and whole(cached, needed, trust=True):
            return cached
        raise


def is_offline(offline: bool | None) -> bool:
    """Return what was asked for; None: as the hub's own variable says."""
    from huggingface_hub import constants

    return constants.HF_HUB_OFFLINE if offline is None else offline


def explained(call: Callable[[], Answer], repo: str, revision: str | None) -> Answer:
    """Return what a call of the hub returns; raise ModelNotFoundError, with the remedy, for its failures."""
    from huggingface_hub import errors

    # What the HTTP library raises depends on the hub client's version; RuntimeError is hf_xet's, ValueError is of an
    # answer that is not JSON.
    broken: Any = (*errors.HfHubHTTPError.__bases__, OSError, RuntimeError, ValueError)
    try:
        return call()
    except EdgeEmbedError:
        raise
    except errors.HFValidationError as error:
        raise ModelNotFoundError(f"{repo} is no local folder, and cannot be a repository: {error}") from error
    except broken as error:
        gone = isinstance(error, errors.RepositoryNotFoundError) and not isinstance(error, errors.GatedRepoError)
        problem = f"{repo} {_problem(error, revision)}"
        raise (RepositoryAbsentError if gone else ModelNotFoundError)(problem) from error


def _problem(error: Exception, revision: str | None) -> str:
    """Say what a failure of the hub means, and what to do; the more particular kinds come first."""
    from huggingface_hub import errors

    status = getattr(getattr(error, "response", None), "status_code", None)
    if isinstance(error, errors.GatedRepoError):
        return "is gated: accept its terms on the hub, then set HF_TOKEN"
    if isinstance(error, errors.RevisionNotFoundError):
        return f"has no revision {revision!r}: give a branch, tag or commit of it"
    if isinstance(error, errors.RepositoryNotFoundError):
        return "is no local folder, and not on the hub, or private: check the name, or set HF_TOKEN"
    if status in (401, 403):
        return f"was refused by the hub ({status}): HF_TOKEN is missing, wrong, expired, or lacks the right to read it"
    if status == 429:
        return "was refused by the hub, which has had too many requests (429): wait some minutes, or set HF_TOKEN"
    if isinstance(error, ValueError) and not isinstance(error, OSError):
        return f"got an answer that no hub gives ({error}): a login page on the way, or a wrong HF_ENDPOINT"
    return f"could not be fetched from the hub: {' '.join(str(error).split())}; try again, or give a local folder"


def find_cached(repo: str, revision: str | None, cache_dir: Path | None) -> Path | None:
    """Return the snapshot of a revision in the cache, whole or not."""
    from huggingface_hub import try_to_load_from_cache
    from huggingface_hub.errors import HFValidationError

    try:
        found = [try_to_load_from_cache(repo, root, cache_dir, revision) for root in ROOTS]
    except HFValidationError:
        return None
    return next((Path(path).parent for path in found if isinstance(path, str)), None)


def _fetch(repo: str, revision: str | None, level: str | None, needed: Needed, cache_dir: Path | None) -> Path:
    """Download the small files, then the weights, the file to open last."""
    from huggingface_hub import hf_hub_download

    info, snapshot, entries = _listed(repo, revision, cache_dir)
    names = [*entries]
    root = next(root for root in ROOTS if root in names)
    for name in (root, *filter(META.fullmatch, names)):
        fetch_file(snapshot, entries[name])
    write_note(snapshot, entries.values())
    weights = needed(snapshot.folder, names)
    if not weights:
        others = listing(name for name in names if not META.fullmatch(name))
        wanted = f" at level {level!r}" if level else ""
        raise RepositoryAbsentError(
            f"{repo} has no weights{wanted} that can be used; beside small files it has {others}"
        )
    size = sum(remaining(snapshot, entries[name]) for name in weights)
    _need_space(repo, size, snapshot.storage)
    if any(not (snapshot.folder / name).exists() for name in weights):
        logger.warning("%s: downloading %.1f MB; licence: %s", repo, size / 1e6, _licence(info))
    for name in weights:
        fetch_file(snapshot, entries[name])
    hf_hub_download(repo, root, revision=revision, cache_dir=cache_dir)  # notes which commit the revision's name means
    return snapshot.folder


def listed(
    repo: str, revision: str | None, cache_dir: Path | None, offline: bool | None
) -> tuple[Snapshot, list[Entry]]:
    """Return what the hub says of a revision: its commit, and every file; raise ModelNotFoundError as `repository`."""
    if is_offline(offline):
        raise RepositoryAbsentError(
            f"{repo} is not whole in the cache, and offline mode is on: fetch it with a network"
        )
    _, snapshot, entries = explained(lambda: _listed(repo, revision, cache_dir), repo, revision)
    return snapshot, [*entries.values()]


def _listed(repo: str, revision: str | None, cache_dir: Path | None) -> tuple[Any, Snapshot, dict[str, Entry]]:
    from huggingface_hub import HfApi, constants

    timeout = constants.HF_HUB_ETAG_TIMEOUT
    info = patiently(lambda: HfApi().model_info(repo, revision=revision, timeout=timeout, files_metadata=True), busy)
    entries = {file.rfilename: _entry(file) for file in info.siblings or ()}
    if info.sha is None or not any(root in entries for root in ROOTS):
        raise RepositoryAbsentError(f"{repo} holds no model: neither {' nor '.join(ROOTS)} is there")
    return info, Snapshot(repo, info.sha, cache_folder(cache_dir)), entries


def _entry(file: Any) -> Entry:
    lfs = file.lfs
    return Entry(file.rfilename, lfs.sha256 if lfs else file.blob_id, lfs.size if lfs else file.size)


def _need_space(repo: str, size: int, folder: Path) -> None:
    free = shutil.disk_usage(folder).free
    if size > free:
        raise ModelNotFoundError(
            f"{repo} needs {size / 1e6:,.0f} MB more on disk and {folder} has {free / 1e6:,.0f} MB free: free some, "
            "choose a smaller level, or set cache_dir or HF_HOME to another disk"
        )


def _licence(info: Any) -> str:
    """Return the licence that the model's card names."""
    card = info.card_data or {}
    named = card.get("license_name") or card.get("license")
    tags = (tag.partition(":")[2] for tag in info.tags or () if tag.startswith("license:"))
    return str(named or next(tags, "not stated"))
