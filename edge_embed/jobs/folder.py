"""The folder of a job: where its files are, and how they are written whole."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edge_embed.errors import CorruptModelError, InputError, listing
from edge_embed.formats.json_file import read_object

from .output import opened

JOB = "job.json"
FORMAT = 1


@dataclass(frozen=True)
class JobFolder:
    """The files of a job by what they are; `suffix` is that of its parts."""

    path: Path
    suffix: str = ".npy"

    @property
    def job(self) -> Path:
        """What the job is."""
        return self.path / JOB

    @property
    def chunks(self) -> Path:
        """Its chunks, one a line."""
        return self.path / "chunks.jsonl"

    @property
    def spool(self) -> Path:
        """What came by standard input."""
        return self.path / "stdin"

    @property
    def parts(self) -> Path:
        """The folder of the parts."""
        return self.path / "parts"

    def part(self, number: int) -> Path:
        """Return the vectors of a chunk."""
        return self.parts / f"part-{number:08d}{self.suffix}"

    def rejected(self, number: int) -> Path:
        """Return the rows of a chunk that have no vector."""
        return self.parts / f"part-{number:08d}.rejected.jsonl"

    def partial(self, number: int) -> Path:
        """Return what was computed of a chunk so far."""
        return self.parts / f"part-{number:08d}.partial"


@contextmanager
def claimed(path: Path) -> Iterator[bool]:
    """Give whether this process alone works on a chunk, whose partial file is locked meanwhile.

    The lock goes with the process, however that ends. Where the system or the disk has no locks everybody works alone:
    two who compute a chunk write the same bytes.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"cannot make {path.parent}: {error.strerror}") from error
    try:
        import fcntl
    except ImportError:  # Windows
        yield True
        return
    handle = os.open(path, os.O_CREAT | os.O_RDWR, 0o666)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
            return
        except OSError:  # some network's file system
            pass
        yield True
    finally:
        os.close(handle)


def write_whole(path: Path, data: bytes) -> None:
    """Write a file under a hidden name, have it on the disk, and rename it; raise InputError for a full disk."""
    with opened(path) as file:
        file.write(data)


def sweep(path: Path) -> None:
    """Remove what a killed process left of a file under hidden names; whoever calls holds the claim to it."""
    for left in path.parent.glob(f".{path.name}.*"):
        with contextlib.suppress(OSError):
            left.unlink()


def read_job(folder: Path) -> dict[str, Any]:
    """Read job.json; raise InputError where there is none, or one that is no job's."""
    path = folder / JOB
    if not path.is_file():
        raise InputError(f"{folder} is no job's folder: it has no {JOB}")
    try:
        job = read_object(path)
    except CorruptModelError as error:
        raise InputError(str(error)) from error
    shape = {"format": int, "release": str, "model": dict, "options": dict, "inputs": list, "chunks": dict}
    wrong = [key for key, kind in shape.items() if not isinstance(job.get(key), kind)]
    wrong += ["inputs"] * ("inputs" not in wrong and not all(_is_input(one) for one in job["inputs"]))
    if wrong:
        raise InputError(f"{path} is no job's: {listing(wrong)} is missing, or of another kind")
    if job["format"] != FORMAT:
        raise InputError(
            f"{path} has the format {job['format']}, this release knows {FORMAT}: run the one that made it"
        )
    return job


def _is_input(one: object) -> bool:
    """Whether a value states an input."""
    texts = ("name", "path", "kind", "sha256")
    return isinstance(one, dict) and all(isinstance(one.get(key), str) and "\0" not in one[key] for key in texts)


def canonical(value: object) -> bytes:
    """Return JSON that is the same for the same values."""
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()
