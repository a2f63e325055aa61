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
GONE = "gone"  # what it is called after that: nothing in it is ever put back
WINDOWS = os.name == "nt"
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
        _remove(folder, out, lock)


def publish(stages: Mapping[Kind, Path], places: Mapping[Kind, Path]) -> None:
    """Put each finished folder in its place in one step, when all are safe on disk; older ones go after that.

    Whatever is raised meanwhile, Ctrl-C among it, leaves in every place what stood there before.
    """
    for kind in places:
        _sync(stages[kind])
    older = next(iter(stages.values())).parent / OLDER
    older.mkdir()
    try:
        for kind, place in places.items():
            if place.exists():
                place.rename(older / place.name)
            stages[kind].rename(place)
        for out in {place.parent for place in places.values()}:
            _sync_one(out)
        older.rename(older.with_name(GONE))
    except BaseException:
        _roll_back(stages, places, older)
        raise


def remove_leftovers(out: Path) -> None:
    """Remove the folders of runs that were killed, never one whose process lives."""
    for folder in out.glob(f".*{SUFFIX}"):
        lock = FileLock(folder / LOCK)
        try:
            lock.acquire(timeout=0)
        except (Timeout, OSError):  # it lives, has just ended, or is another user's
            continue
        _remove(folder, out, lock)


def _roll_back(stages: Mapping[Kind, Path], places: Mapping[Kind, Path], older: Path) -> None:
    """Take new folders out of their places and put the older ones back, by what lies where, not by what was noted."""
    if not older.exists():  # every new folder stands in its place
        return
    for kind, place in places.items():
        if place.exists() and not stages[kind].exists():
            place.rename(stages[kind])
    _put_back(older, next(iter(places.values())).parent)


def _put_back(older: Path, out: Path) -> None:
    """Return what was taken away and has no successor yet."""
    for one in older.glob("*"):
        if not (out / one.name).exists():
            one.rename(out / one.name)


def _remove(folder: Path, out: Path, lock: FileLock) -> None:
    """Put back what stands nowhere else, then remove a run's folder, and give its lock back."""
    older = folder / OLDER
    try:
        _put_back(older, out)
        if older.exists():
            older.rename(folder / GONE)  # if this is cut short, half a model is not put back
        shutil.rmtree(folder, ignore_errors=True)
    finally:
        lock.release()
    if WINDOWS:  # which removes no file that is open, as the lock was
        shutil.rmtree(folder, ignore_errors=True)


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
        _sync_one(path)


def _sync_one(path: Path) -> None:
    """Have a file or folder on the disk; Windows has no such call for folders, and wants a file open for writing."""
    if WINDOWS and path.is_dir():
        return
    handle = os.open(path, os.O_RDWR if WINDOWS else os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
