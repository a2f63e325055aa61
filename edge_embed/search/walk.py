"""Folders -> the files in them: no links followed, nothing hidden, nothing that .gitignore leaves out."""

from __future__ import annotations

import fnmatch
import os
import re
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from edge_embed.errors import InputError

IGNORE_FILE = b".gitignore"
MOST_IGNORE = 1 << 20  # bytes of one .gitignore
MOST_STARS = 4  # of a pattern: each one more multiplies the time of a name that nearly matches
OURS = (b"-bits", b"-wal", b"-shm", b"-journal", b"-lock")  # what lies beside an index


class Found(NamedTuple):
    """A file as it was seen: its absolute path, bytes, and when it was changed."""

    path: bytes
    size: int
    mtime_ns: int


@dataclass
class Walk:
    """What is walked: `excluded` globs match a name or a whole path; `faults` fills with what could not be read."""

    roots: Sequence[bytes]
    excluded: Sequence[str] = ()
    index: str = ""
    faults: list[tuple[bytes, str]] = field(default_factory=list)

    def files(self) -> Iterator[Found]:
        """Yield regular files, each once, whatever roots lie within one another."""
        pattern = "|".join(fnmatch.translate(glob) for glob in self.excluded)
        leave_out = re.compile(pattern) if pattern else None
        mine = {os.path.abspath(os.fsencode(self.index)) + end for end in (b"", *OURS)} if self.index else set()
        seen: set[bytes] = set()
        for root in self.roots:
            for found in self._of(root, leave_out):
                if found.path not in mine and found.path not in seen:
                    if len(self.roots) > 1:
                        seen.add(found.path)
                    yield found

    def _of(self, root: bytes, leave_out: re.Pattern[str] | None) -> Iterator[Found]:
        try:
            status = os.stat(root)  # a root that is a link was named by its user
        except OSError as error:
            self.faults.append((root, error.strerror or str(error)))
            return
        if stat.S_ISREG(status.st_mode):
            yield Found(root, status.st_size, status.st_mtime_ns)
            return
        if not stat.S_ISDIR(status.st_mode):
            self.faults.append((root, "no file and no folder"))
            return
        folders: list[tuple[bytes, tuple[_Ignore, ...]]] = [(root, _above(root))]
        while folders:
            folder, ignores = folders.pop()
            try:
                with os.scandir(folder) as listing:
                    entries = sorted(listing, key=lambda entry: entry.name)
            except OSError as error:
                self.faults.append((folder, error.strerror or str(error)))
                continue
            if any(entry.name == IGNORE_FILE for entry in entries):
                ignores = (*ignores, *_ignore(folder))
            for entry in entries:
                if entry.name.startswith(b".") or (leave_out and _left_out(entry.path, leave_out)):
                    continue
                try:
                    is_folder = entry.is_dir(follow_symlinks=False)
                    if not is_folder and not entry.is_file(follow_symlinks=False):
                        continue
                    if ignores and _ignored(ignores, entry.path, is_folder):
                        continue
                    if is_folder:
                        folders.append((entry.path, ignores))
                        continue
                    status = entry.stat(follow_symlinks=False)
                except OSError as error:
                    self.faults.append((entry.path, error.strerror or str(error)))
                    continue
                yield Found(entry.path, status.st_size, status.st_mtime_ns)


class _Ignore(NamedTuple):
    """The patterns of one .gitignore, and the folder that they count from, with its slash."""

    base: bytes
    spec: Any


def _ignore(folder: bytes) -> list[_Ignore]:
    import pathspec

    try:
        with open(os.path.join(folder, IGNORE_FILE), "rb") as file:
            patterns = file.read(MOST_IGNORE).decode("utf-8", "surrogateescape").splitlines()
        quick = [pattern for pattern in patterns if pattern.replace("**", "").count("*") <= MOST_STARS]
        return [_Ignore(os.path.join(folder, b""), pathspec.GitIgnoreSpec.from_lines(quick))]
    except (OSError, ValueError):  # one that cannot be read, or that git would pass over too
        return []


def _above(root: bytes) -> tuple[_Ignore, ...]:
    """Read the .gitignore files of the folders above, up to the repository's own."""
    found: list[_Ignore] = []
    folder = root
    while not os.path.exists(os.path.join(folder, b".git")):
        parent = os.path.dirname(folder)
        if parent == folder:
            return ()  # in no repository
        folder = parent
        found = [*_ignore(folder), *found]
    return tuple(found)


def _ignored(ignores: Sequence[_Ignore], path: bytes, is_folder: bool) -> bool:
    """Ask the nearest .gitignore that says anything of a path."""
    for ignore in reversed(ignores):
        relative = path[len(ignore.base) :].decode("utf-8", "surrogateescape") + "/" * is_folder
        verdict = ignore.spec.check_file(relative).include
        if verdict is not None:
            return bool(verdict)
    return False


def _left_out(path: bytes, pattern: re.Pattern[str]) -> bool:
    text = os.fsdecode(path)
    return bool(pattern.match(text) or pattern.match(text.rpartition(os.sep)[2]))


def absolute(path: str | bytes | os.PathLike[str]) -> bytes:
    """Return a path's bytes from the root on, `~` read as a home."""
    return os.path.abspath(os.path.expanduser(os.fsencode(path)))


def existing(paths: Sequence[str | bytes | os.PathLike[str]]) -> list[bytes]:
    """Return absolute paths; raise InputError for one that leads nowhere."""
    found = []
    for path in paths:
        whole = absolute(path)
        if not os.path.exists(whole):
            raise InputError(f"there is no file or folder {os.fsdecode(whole)}")
        found.append(whole)
    return found
