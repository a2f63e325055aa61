"""What a hub has of a model, as data: files with their digests and sizes, and a commit's place in the cache."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from edge_embed.spec.names import path_fault

DIGEST = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")  # git's own of a small file, SHA-256 of a large one
LARGEST = 1 << 50  # bytes of a file; a size beyond that is no size


@dataclass(frozen=True)
class Entry:
    """One file as the hub lists it: its digest and its size in bytes, None where the hub does not say."""

    name: str
    digest: str | None = None
    size: int | None = None


@dataclass(frozen=True)
class Snapshot:
    """One commit of a repository and the cache that it is fetched into."""

    repo: str
    commit: str
    cache: Path

    @property
    def storage(self) -> Path:
        """The repository's folder in the cache."""
        return self.cache / ("models--" + self.repo.replace("/", "--"))

    @property
    def folder(self) -> Path:
        """Where the commit's files appear under their names."""
        return self.storage / "snapshots" / self.commit


def listed_file(name: object, digest: object, size: object) -> Entry | None:
    """Return a file as a hub or our note of it lists it; None for a name that cannot be a path below a folder.

    A digest or a size that cannot be one counts as not known.
    """
    if not isinstance(name, str) or path_fault(name):
        return None
    known = digest if isinstance(digest, str) and DIGEST.fullmatch(digest) else None
    return Entry(name, known, size if type(size) is int and 0 <= size <= LARGEST else None)
