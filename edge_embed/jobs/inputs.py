"""What a user names as inputs -> files and folders of known kinds, with names that are the same on every machine."""

from __future__ import annotations

import glob
import os
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edge_embed.errors import InputError
from edge_embed.hub.digests import remembered_digest
from edge_embed.loading.request import own_cache
from edge_embed.records.folder import IMAGES, TEXTS, FolderFiles, walk
from edge_embed.records.source import SUFFIXES, Kind, kind_of
from edge_embed.records.stream import COMPRESSED

from .folder import JobFolder
from .output import opened

STDIN = "-"
AGAIN = "stdin.again"  # what comes by standard input when a job is taken up, until it is known to be the same
PIECE = 1 << 20


@dataclass(frozen=True)
class InputFile:
    """One input: its name in the outputs, where it lies, its kind, bytes, and SHA-256: of a folder, of its listing."""

    name: str
    path: Path
    kind: Kind
    bytes: int
    sha256: str

    def to_json(self) -> dict[str, Any]:
        """Return all of it as JSON values."""
        return {**vars(self), "path": str(self.path)}


def find_inputs(
    named: Sequence[str | os.PathLike[str]], folder: JobFolder, kind: Kind | None = None
) -> list[InputFile]:
    """Find the files that paths, folders, globs and "-" name, and hash them; `kind` is what standard input holds.

    Raises InputError for a name that leads to nothing, and for a kind of file that cannot be read.
    """
    found: list[tuple[Path, Kind]] = []
    for name in named:
        if os.fspath(name) == STDIN:
            found.append((_spooled(folder, kind), kind or "text"))
        else:
            found += [(path, kind_of(path)) for path in _expanded(Path(name))]
    if not found:
        raise InputError("no inputs: name files, folders, globs, or - for standard input")
    return hashed(found, folder)


def hashed(found: Sequence[tuple[Path, Kind]], folder: JobFolder) -> list[InputFile]:
    """Measure and hash inputs; a file that was hashed before and is as it was is not read again."""
    paths = [path.resolve() for path, _ in found]
    names = _names(paths, folder.path.resolve())
    return [_measured(name, path, kind) for name, path, (_, kind) in zip(names, paths, found, strict=True)]


def _measured(name: str, path: Path, kind: Kind) -> InputFile:
    try:
        if kind == "folder":
            _, size, digest = FolderFiles(path).listing()
            return InputFile(name, path, kind, size, digest)
        return InputFile(name, path, kind, path.stat().st_size, remembered_digest(path, own_cache()))
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}") from error


def _names(paths: Sequence[Path], own: Path) -> list[str]:
    """Name each by its path below the folder that all have in common; standard input by that."""
    spools = {own / "stdin", own / AGAIN}
    parents = [path.parent for path in paths if path not in spools]
    base = Path(os.path.commonpath(parents)) if parents else own
    names = ["stdin" if path in spools else path.relative_to(base).as_posix() for path in paths]
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        raise InputError(f"{twice[0]} is named twice among the inputs")
    return names


def _expanded(path: Path) -> Iterator[Path]:
    """Yield a file, what a glob matches, and of a folder its tables and, if it has texts or images, itself."""
    if path.is_dir():
        yield from _of_folder(path)
    elif path.exists():
        yield path
    elif glob.has_magic(str(path)):
        matches = sorted(glob.glob(str(path), recursive=True))
        if not matches:
            raise InputError(f"{path} matches no file")
        for match in map(Path, matches):
            yield from _of_folder(match) if match.is_dir() else [match]
    else:
        raise InputError(f"cannot read {path}: no such file or folder")


def _of_folder(folder: Path) -> Iterable[Path]:
    tables, documents, others = [], 0, set()
    for name in walk(folder):
        path = Path(name)
        suffix = path.suffix.lower()
        inner = Path(path.stem).suffix.lower() if suffix in COMPRESSED else suffix
        if inner in SUFFIXES:
            tables.append(folder / name)
        elif suffix in IMAGES or suffix in TEXTS:
            documents += 1
        else:
            others.add(suffix or name)
    if not tables and not documents:
        raise InputError(f"{folder} has no file that can be read: it has {', '.join(sorted(others)[:9]) or 'none'}")
    return [*([folder] if documents else []), *tables]


def _spooled(folder: JobFolder, kind: Kind | None) -> Path:
    """Write standard input into the job's folder, whole, so that it can be read again."""
    if kind in ("parquet", "folder"):
        raise InputError(f"standard input cannot be {kind}: name the file")
    if sys.stdin is None or sys.stdin.isatty():
        raise InputError("standard input is a terminal or closed: pipe something in")
    folder.path.mkdir(parents=True, exist_ok=True)
    path = folder.spool
    if path.exists():  # of the same job, or of one that is to be refused: it must not be lost before that is known
        path = path.with_name(AGAIN)
    with opened(path) as file:
        while data := sys.stdin.buffer.read(PIECE):
            file.write(data)
    return path
