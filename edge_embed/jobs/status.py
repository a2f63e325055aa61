"""How far the job in a folder is, and whether its parts are what was written; computes nothing."""

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from edge_embed.errors import CorruptModelError, InputError
from edge_embed.records.row import Chunk

from .description import job_hash
from .folder import JOB, JobFolder, read_job
from .part import CorruptPartError
from .parts import finished, read_part, suffix_of
from .plan import read_chunks
from .settings import Settings

NAMED = 20  # parts that a message lists


@dataclass(frozen=True)
class Status:
    """Parts that are there of all, and their rows, vectors and rejected rows."""

    folder: Path
    parts: int
    all_parts: int
    rows: int
    all_rows: int
    vectors: int
    rejected: int
    begun: int

    def to_json(self) -> dict[str, Any]:
        """Return all of it as JSON values."""
        return {**asdict(self), "folder": str(self.folder)}

    def sentence(self) -> str:
        """Say it to people."""
        share = f"{self.rows / self.all_rows:.1%}" if self.all_rows else "100%"
        begun = f", {self.begun} more begun" if self.begun else ""
        return (
            f"{self.parts:,} of {self.all_parts:,} parts{begun}: {self.rows:,} of {self.all_rows:,} rows ({share}), "
            f"{self.vectors:,} vectors, {self.rejected:,} rejected"
        )


def status(folder: Path) -> Status:
    """Tell how far a job is by the footers of its parts; raises InputError where there is no job."""
    place, hash, chunks = _opened(folder)
    return _status(place, [(chunk, finished(place, hash, chunk)) for chunk in chunks])


def verify(folder: Path) -> Status:
    """Read every part and compare it with its hash, count its rows, and look for the rows that it rejected.

    Raises CorruptModelError that names what is missing and what is damaged.
    """
    place, hash, chunks = _opened(folder)
    found = [(chunk, finished(place, hash, chunk)) for chunk in chunks]
    wrong = []
    for chunk, footer in found:
        path = place.part(chunk.number)
        if footer is None:
            wrong.append(f"{path.name} is {'of another job, or was cut' if path.exists() else 'missing'}")
        elif fault := _fault(place, chunk, footer):
            wrong.append(fault)
    if wrong:
        lines = "\n  ".join(wrong[:NAMED]) + (f"\n  and {len(wrong) - NAMED} more" if len(wrong) > NAMED else "")
        raise CorruptModelError(
            f"{len(wrong)} of {len(chunks)} parts in {folder} are missing or wrong (delete those that are damaged, "
            f"then edge-embed run --out {folder}):\n  {lines}"
        )
    return _status(place, found)


def _fault(place: JobFolder, chunk: Chunk, footer: dict[str, Any]) -> str | None:
    path, beside = place.part(chunk.number), place.rejected(chunk.number)
    try:
        part = read_part(path)
    except CorruptPartError as error:
        return str(error)
    if len(part.vectors) != footer["vectors"] or len(part.fields) != footer["vectors"]:
        return f"{path.name} holds {len(part.vectors)} vectors, its footer says {footer['vectors']}"
    rejected = beside.read_bytes() if beside.exists() else b""
    if hashlib.blake2b(rejected, digest_size=32).hexdigest() != footer["rejected_digest"]:
        return f"{beside.name} is not what was written beside its part"
    return None


def _opened(folder: Path) -> tuple[JobFolder, str, list[Chunk]]:
    job = read_job(folder)
    try:
        place = JobFolder(folder, suffix_of(Settings.from_json(job["options"]).format))
        return place, job_hash(job), read_chunks(place.chunks, job)
    except (KeyError, TypeError, AttributeError) as error:
        raise InputError(f"{folder / JOB} is not a job's: {error}") from error


def _status(place: JobFolder, found: list[tuple[Chunk, dict[str, Any] | None]]) -> Status:
    done = [(chunk, footer) for chunk, footer in found if footer is not None]
    return Status(
        folder=place.path,
        parts=len(done),
        all_parts=len(found),
        rows=sum(chunk.rows for chunk, _ in done),
        all_rows=sum(chunk.rows for chunk, _ in found),
        vectors=sum(footer["vectors"] for _, footer in done),
        rejected=sum(footer["rejected"] for _, footer in done),
        begun=sum(path.stat().st_size > 0 for path in place.parts.glob("*.partial")),
    )
