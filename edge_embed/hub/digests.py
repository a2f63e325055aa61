"""What a file holds, as a hash: computed once, and remembered for as long as the file stays as it is on this disk.

A file is known by inode, size, and the times of its last write and its last change. The latter no program can set, so a
file of equal size and time of writing, as reproducible builds make them, is hashed anew. Bytes that rot on the disk
change none of these: only `edge-embed verify` reads everything. Windows has no such time; there that of a file's
making stands in for it.
"""

from __future__ import annotations

import contextlib
import hashlib
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from edge_embed.progress import progress

from .entries import DIGEST

SHA256 = "0" * 64  # what a SHA-256 looks like
CHUNK = 1 << 20
SMALL = 1 << 20  # bytes that are hashed in a millisecond: not worth a note
TICK = 100_000_000  # nanoseconds; a file that is hashed so soon after a change may change again within the clock's tick
SPOTS, SECOND = 16, 10**9


class Stopped(Exception):
    """Tell who asked for an end that the hash is not whole."""


def digest_of(path: Path, like: str, stopped: Callable[[], bool] = lambda: False, *, name: str | None = None) -> str:
    """Return a file's hash of the kind that `like` has: git's SHA-1 for 40 hex digits, SHA-256 for 64.

    Raises Stopped as soon as `stopped` says so. `name` is what people know the file by, where that is not its own.
    """
    size = path.stat().st_size
    digest = hashlib.sha256() if len(like) == 64 else hashlib.sha1(b"blob %d\0" % size, usedforsecurity=False)
    update_hash(digest, path, stopped, name=name)
    return digest.hexdigest()


def update_hash(
    digest: Any, path: Path, stopped: Callable[[], bool] = lambda: False, *, name: str | None = None
) -> None:
    """Update a hash with a file's bytes, a megabyte at a time; raises Stopped as `digest_of` does."""
    buffer = memoryview(bytearray(CHUNK))
    with (
        path.open("rb", buffering=0) as file,
        progress(f"hashing {name or path.name}", path.stat().st_size, "B") as step,
    ):
        while count := file.readinto(buffer):
            if stopped():
                raise Stopped
            digest.update(buffer[:count])
            step(count)


def remembered_digest(path: Path, cache: Path, like: str = SHA256, stopped: Callable[[], bool] = lambda: False) -> str:
    """Return a file's hash as `digest_of` does; what was hashed once and is as it was is not read again.

    Where the cache cannot be written, files are read each time.
    """
    if found := recall(path, cache, like):
        return found
    before, changed = identity(path), path.stat().st_ctime_ns
    settled = time.time_ns() - changed > TICK
    digest = digest_of(path, like, stopped)
    if settled and path.stat().st_size > SMALL and identity(path) == before:
        with contextlib.suppress(OSError):
            note = _note(path, cache, like)
            note.parent.mkdir(parents=True, exist_ok=True)
            note.write_text(digest, "ascii")
    return digest


def recall(path: Path, cache: Path, like: str = SHA256) -> str | None:
    """Return the hash of a file that was hashed before and is as it was then; None if it is to be read."""
    with contextlib.suppress(OSError, UnicodeDecodeError):
        text = _note(path, cache, like).read_text("ascii")
        if len(text) == len(like) and DIGEST.fullmatch(text):
            return text
    return None


def identity(path: Path) -> tuple[object, ...]:
    """Return what tells a file from one that took its place, without reading it all."""
    stat = path.stat()
    facts = (stat.st_ino, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns)
    return facts if stat.st_ctime_ns % SECOND else (*facts, _spots(path, stat.st_size))


def _note(path: Path, cache: Path, like: str) -> Path:
    return cache / "hashed" / hashlib.sha256(repr((len(like), identity(path))).encode()).hexdigest()[:32]


def _spots(path: Path, size: int) -> str:
    """Hash a few places: in images of disks, as squashfs, every version has the same inodes, and no time of change."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        for n in range(SPOTS):
            file.seek(size * n // SPOTS)
            digest.update(file.read(4096))
    return digest.hexdigest()
