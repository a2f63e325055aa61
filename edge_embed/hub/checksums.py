"""A model's folder against the hashes that it names itself: `edge_embed.json` and `SHA256SUMS`."""

from __future__ import annotations

import re
from pathlib import Path

from edge_embed.errors import CorruptModelError
from edge_embed.spec.model import FILE_NAME, ModelSpec
from edge_embed.spec.names import path_fault

from .fetch import digest_of

SUMS = "SHA256SUMS"
LINE = re.compile(r"([0-9a-f]{64}) [ *](.+)")
SHA256 = "0" * 64  # what a SHA-256 looks like


def named_sums(folder: Path) -> dict[str, str]:
    """Return the SHA-256 of every file that the folder names one for, by path.

    Raises CorruptModelError for a list that cannot be read.
    """
    sums = {}
    if (folder / FILE_NAME).is_file():
        files = (file for weights in ModelSpec.read(folder / FILE_NAME).weights for file in weights.files)
        sums = {file.path: file.sha256 for file in files if file.sha256}
    if (folder / SUMS).is_file():
        for number, line in enumerate((folder / SUMS).read_text("utf-8").splitlines(), 1):
            found = LINE.fullmatch(line)
            if found is None or path_fault(found[2]):
                raise CorruptModelError(f"{folder / SUMS}, line {number} is no hash and path: {line!r}")
            sums[found[2]] = found[1]
    return sums


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
