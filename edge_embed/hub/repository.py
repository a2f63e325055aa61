"""`user/repo` at a revision -> what it holds, by the hub's cache or else by the hub; and files of it, fetched.

Every failure of the hub ends as an error that says what to do.
"""

from __future__ import annotations

import logging
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from edge_embed.errors import EdgeEmbedError, ModelNotFoundError, RepositoryAbsentError, listing, printable

from .answers import describe, is_transient, retry
from .cache import METADATA, ROOTS, note_revision, read_note, snapshot_of, write_note
from .entries import Entry, Snapshot
from .fetch import bytes_missing, fetch_file

MOST_METADATA, LARGEST_METADATA = 64, 256 << 20  # files, and bytes of one: the longest tokenizer.json has some 40 MB
MOST_NAMED = 20  # files in an error
# The HTTP library depends on the client's version.
CLIENT = {"h11", "hf_xet", "httpcore", "httpcore2", "httpx", "httpx2", "huggingface_hub"}
logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Repository:
    """One commit of a repository: its files as the hub lists them, by name.

    `fresh`: the hub was asked just now, rather than our note of what it said once. `revision` is as the user named it.
    """

    snapshot: Snapshot
    entries: Mapping[str, Entry]
    revision: str | None = None
    licence: str | None = None
    fresh: bool = False

    def has(self, name: str) -> bool:
        """Whether a file is in the cache."""
        return (self.snapshot.folder / name).exists()

    def no_weights(self, level: str | None) -> RepositoryAbsentError:
        """Return the error for a repository that holds no weights, or none of a level."""
        names = [name for name in self.entries if not METADATA.fullmatch(name)]
        others = listing(names[:MOST_NAMED]) + (f" and {len(names) - MOST_NAMED:,} more" if names[MOST_NAMED:] else "")
        wanted = f" at level {level!r}" if level else ""
        return RepositoryAbsentError(
            f"{self.snapshot.repo} has no weights{wanted} that can be used; beside small files it has {others}"
        )

    def incomplete(self) -> RepositoryAbsentError:
        """Return the error for files that are needed, not in the cache, and not to be fetched."""
        return _incomplete(self.snapshot.repo)


def is_offline(offline: bool | None) -> bool:
    """Return what was asked for; None: as the hub's own variable says."""
    from huggingface_hub import constants

    return constants.HF_HUB_OFFLINE if offline is None else offline


def cached_repository(repo: str, revision: str | None, cache: Path, *, trust: bool) -> Repository | None:
    """Return what the cache knows of a revision, if all that says what the model is lies there; else None.

    What the repository holds is known where `write_note` noted it. Elsewhere another tool may have fetched a part of
    the model; `trust` takes what lies there for all there is.
    """
    folder = find_cached(repo, revision, cache)
    if folder is None:
        return None
    snapshot = snapshot_of(folder)
    existing = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    entries = {entry.name: entry for entry in read_note(snapshot)}
    if not entries:
        if not trust:
            return None
        entries = {name: Entry(name, size=(folder / name).stat().st_size) for name in existing}
        bare = any(name.endswith(".gguf") for name in existing)  # their own metadata may say all
        needed = set() if bare or ROOTS[0] in existing else {"modules.json"}
        if not (bare or "tokenizer.json" in existing) or not needed <= existing:
            return None
    if not set(filter(METADATA.fullmatch, entries)) <= existing:
        return None
    return Repository(snapshot=snapshot, entries=entries, revision=revision)


def find_cached(repo: str, revision: str | None, cache: Path) -> Path | None:
    """Return the snapshot of a revision in the cache, whole or not."""
    from huggingface_hub import try_to_load_from_cache
    from huggingface_hub.errors import HFValidationError

    try:
        found = [try_to_load_from_cache(repo, root, cache, revision) for root in ROOTS]
    except HFValidationError:
        return None
    return next((Path(path).parent for path in found if isinstance(path, str)), None)


def ask_hub(repo: str, revision: str | None, cache: Path, *, offline: bool) -> Repository:
    """Return what the hub says of a revision: its commit, and every file. Fetches nothing.

    Raises RepositoryAbsentError for a repository that is not there or holds no model, and offline at once;
    ModelNotFoundError for every other failure of the hub.
    """
    if offline:
        raise _incomplete(repo)
    with hub_errors(repo, revision):
        found = retry(describe, is_transient)(repo, revision)
    if not any(root in found.entries for root in ROOTS):
        raise RepositoryAbsentError(f"{repo} holds no model: neither {' nor '.join(ROOTS)} is there")
    return Repository(
        snapshot=Snapshot(repo, found.commit, cache),
        entries=found.entries,
        revision=revision,
        licence=found.licence,
        fresh=True,
    )


def fetch_metadata(repository: Repository) -> None:
    """Fetch the small files that say what a model is, and note what the hub said of all; raises as `fetch_files`."""
    with hub_errors(repository.snapshot.repo, repository.revision):
        names = metadata_of(repository)
        _check_disk(repository, names)
        for name in names:
            fetch_file(repository.snapshot, repository.entries[name])
    write_note(repository.snapshot, repository.entries.values())


def metadata_of(repository: Repository) -> list[str]:
    """List the small files that say what a model is, the one that every repository of a model has first.

    Raises ModelNotFoundError where they are too many or too large to be that.
    """
    entries = repository.entries
    root = next(root for root in ROOTS if root in entries)
    names = list(dict.fromkeys([root, *filter(METADATA.fullmatch, entries)]))
    if len(names) > MOST_METADATA:
        raise ModelNotFoundError(
            f"{repository.snapshot.repo} has {len(names):,} files such as {names[-1]!r:.100} that would say what the "
            f"model is; at most {MOST_METADATA} are read"
        )
    large = [name for name in names if (entries[name].size or 0) > LARGEST_METADATA]
    if large:
        raise ModelNotFoundError(
            f"{repository.snapshot.repo} says that {large[0]} has {entries[large[0]].size:,} bytes; files that say "
            f"what a model is have at most {LARGEST_METADATA:,}"
        )
    return names


def fetch_files(repository: Repository, names: Sequence[str]) -> None:
    """Fetch files that are not in the cache, in this order, and note which commit the revision's name means.

    Raises ModelNotFoundError for every failure of the hub and a disk that is too full, CorruptModelError for bytes that
    are not the hub's.
    """
    snapshot = repository.snapshot
    missing = [name for name in names if not repository.has(name)]
    with hub_errors(snapshot.repo, repository.revision):
        size = _check_disk(repository, missing)
        if missing:
            licence = printable(repository.licence or "not stated")
            logger.warning("%s: downloading %.1f MB; licence: %s", snapshot.repo, size / 1e6, licence)
        for name in missing:
            fetch_file(snapshot, repository.entries[name])
        if repository.fresh:
            note_revision(snapshot, repository.revision)


@contextmanager
def hub_errors(repo: str, revision: str | None) -> Iterator[None]:
    """Raise ModelNotFoundError, with the remedy, for whatever the hub's client raises within."""
    from huggingface_hub import errors

    try:
        yield
    except EdgeEmbedError:
        raise
    except errors.HFValidationError as error:
        raise ModelNotFoundError(f"{repo} is no local folder, and cannot be a repository: {error}") from None
    except Exception as error:  # the client's and its HTTP library's have no base in common; see _of_client
        if not _of_client(error):
            raise
        absent = isinstance(error, errors.RepositoryNotFoundError) and not isinstance(error, errors.GatedRepoError)
        kind = RepositoryAbsentError if absent else ModelNotFoundError
        logger.debug("what the hub's client raised", exc_info=True)
        raise kind(f"{repo} {_problem(error, revision)}") from None  # the client's own errors take a hundred lines


def _of_client(error: Exception) -> bool:
    """Whether an error is of the hub's client, its HTTP library, the system, or of an answer that no hub gives."""
    packages = {kind.__module__.partition(".")[0] for kind in type(error).__mro__}
    return isinstance(error, OSError | RuntimeError | ValueError) or bool(packages & CLIENT)


def _incomplete(repo: str) -> RepositoryAbsentError:
    return RepositoryAbsentError(
        f"{repo} is not complete in the cache, and offline mode is on: fetch it with a network"
    )


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
        return f"got an answer that no hub gives ({error!s:.200}): a login page on the way, or a wrong HF_ENDPOINT"
    return f"could not be fetched from the hub: {' '.join(str(error).split()):.500}; try again, or give a local folder"


def _check_disk(repository: Repository, names: Sequence[str]) -> int:
    """Return how many bytes of files are to be downloaded; raise ModelNotFoundError where the disk has less."""
    snapshot = repository.snapshot
    size = sum(bytes_missing(snapshot, repository.entries[name]) for name in names)
    place = next(path for path in (snapshot.storage, *snapshot.storage.parents) if path.exists())
    free = shutil.disk_usage(place).free
    if size > free:
        raise ModelNotFoundError(
            f"{snapshot.repo} needs {size / 1e6:,.0f} MB more on disk and {place} has {free / 1e6:,.0f} MB free: free "
            "some, choose a smaller level, or set cache_dir or HF_HOME to another disk"
        )
    return size
