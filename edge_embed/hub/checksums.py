"""A model's folder against the hashes that it names itself: `edge_embed.json` and `SHA256SUMS`."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path

from edge_embed.errors import CorruptModelError
from edge_embed.spec.model import FILE_NAME, ModelSpec
from edge_embed.spec.names import path_fault
from edge_embed.spec.weights import Weights

from .digests import SHA256, digest_of
from .entries import DIGEST

SUMS = "SHA256SUMS"
LINE = re.compile(r"([0-9a-f]{64}) [ *](.+)")
BLOBS = "blobs"  # the folder of the hub's cache whose files are named by their hashes


def named_sums(folder: Path) -> dict[str, str]:
    """Return the SHA-256 of every file that the folder names one for, by path.

    Raises CorruptModelError for a list that cannot be read.
    """
    path = folder / FILE_NAME
    return (weight_sums(ModelSpec.read(path).weights) if path.is_file() else {}) | listed_sums(folder)


def weight_sums(weights: Iterable[Weights]) -> dict[str, str]:
    """Return the SHA-256 of every weight file that edge_embed.json names one for."""
    return {file.path: file.sha256 for one in weights for file in one.files if file.sha256}


def listed_sums(folder: Path) -> dict[str, str]:
    """Return what SHA256SUMS lists, if there is one; raise CorruptModelError for a line that is no hash and path."""
    path, sums = folder / SUMS, {}
    if not path.is_file():
        return {}
    for number, line in enumerate(path.read_text("utf-8", "backslashreplace").splitlines(), 1):
        found = LINE.fullmatch(line)
        if found is None or path_fault(found[2]):
            raise CorruptModelError(f"{path}, line {number} is no hash and path: {line!r}")
        sums[found[2]] = found[1]
    return sums


def recorded_digest(path: Path, sums: Mapping[str, str], name: str) -> str | None:
    """Return the hash that a file should have: by its folder's sums, or by its name in the hub's cache.

    None where nothing says so.
    """
    if name in sums:
        return sums[name]
    target = path.readlink() if path.is_symlink() else path
    return target.name if target.parent.name == BLOBS and DIGEST.fullmatch(target.name) else None


def wrong_sums(folder: Path) -> tuple[int, list[str]]:
    """Hash every file that the folder names a hash for; return how many are there, and one line for each that differs.

    Files that are listed and missing count as left out on purpose: a folder may hold fewer levels than were made.
    """
    existing = {name: expected for name, expected in named_sums(folder).items() if (folder / name).is_file()}
    wrong = []
    for name, expected in sorted(existing.items()):
        if (actual := digest_of(folder / name, SHA256)) != expected:
            wrong.append(f"{name}: SHA-256 {actual}, the folder says {expected}")
    return len(existing), wrong
