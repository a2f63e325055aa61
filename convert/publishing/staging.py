"""Where a conversion is made until it is whole: a hidden folder a run, locked for as long as its process lives.

A process that was killed holds no lock: the next run there removes its folder, and puts back what it had taken away.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from filelock import FileLock, Timeout

SUFFIX = ".edge_embed.partial"
LOCK = "lock"
OLDER = "older"  # holds what stood in the places, until the new folders stand there
Kind = TypeVar("Kind", bound=str)  # of a folder: the format that it holds


@contextmanager
def staging(kinds: Iterable[Kind], name: str, out: Path) -> Iterator[dict[Kind, Path]]:
    """Make a hidden folder for each format; what is still in it at the end is removed."""
    remove_leftovers(out)
    folder, lock = _locked_folder(name, out)
    try:
        stages = {kind: folder / kind for kind in kinds}
        for stage in stages.values():
            stage.mkdir()
        yield stages
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        lock.release()


def publish(stages: Mapping[Kind, Path], places: Mapping[Kind, Path]) -> None:
    """Put each finished folder in its place in one step, when all are safe on disk; older ones go after that."""
    for kind in places:
        _sync(stages[kind])
    for kind, place in places.items():
        if place.exists():
            older = stages[kind].parent / OLDER
            older.mkdir(exist_ok=True)
            place.rename(older / place.name)
        stages[kind].rename(place)


def remove_leftovers(out: Path) -> None:
    """Remove the folders of runs that were killed, never one whose process lives."""
    for folder in out.glob(f".*{SUFFIX}"):
        lock = FileLock(folder / LOCK)
        try:
            lock.acquire(timeout=0)
        except (Timeout, OSError):  # it lives, has just ended, or is another user's
            continue
        try:
            for older in folder.glob(f"{OLDER}/*"):
                if not (out / older.name).exists():  # killed after this was taken away, before the new one stood there
                    older.rename(out / older.name)
            shutil.rmtree(folder, ignore_errors=True)
        finally:
            lock.release()


def _locked_folder(name: str, out: Path) -> tuple[Path, FileLock]:
    """Make a folder and lock it; anew when another run took it for a leftover in between."""
    while True:
        folder = Path(tempfile.mkdtemp(prefix=f".{name}.", suffix=SUFFIX, dir=out))
        lock = FileLock(folder / LOCK)
        try:
            lock.acquire(timeout=0)
        except (Timeout, FileNotFoundError):
            continue
        if (folder / LOCK).exists():
            return folder, lock
        lock.release()


def _sync(stage: Path) -> None:
    for path in [*stage.rglob("*"), stage]:
        handle = os.open(path, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
