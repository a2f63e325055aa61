"""Files -> the index: what has changed is read, cut and embedded; what is gone is removed; the rest costs a look."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NamedTuple

from edge_embed.errors import InputError
from edge_embed.progress import Advance

from . import extract
from .command import Command
from .database import Database, Known
from .documents import Document, Documents
from .extract import Unreadable
from .store import Passage, Source
from .walk import Found, Walk

TOGETHER = 512  # passages of small files that are embedded in one call
NEVER_AGAIN = {"binary"}  # faults that only another content, or a command, would mend
IMAGE = "image, of which the model takes none"


@dataclass
class Report:
    """What an update did: files and passages, and what was left out and why."""

    indexed: int = 0
    unchanged: int = 0
    removed: int = 0
    passages: int = 0
    left_out: list[tuple[str, str]] = field(default_factory=list)


class Work(NamedTuple):
    """A file that is ready to be embedded."""

    source: Source
    document: Document


def update(database: Database, documents: Documents, walk: Walk, commands: Sequence[Command], step: Advance) -> Report:
    """Bring the index up to what lies in the folders; `step` is moved on by each file that is seen."""
    report, known, seen = Report(), database.known_files(), set()
    waiting: list[Work] = []
    passages = 0
    for found in walk.files():
        seen.add(found.path)
        step()
        work = _look(database, documents, found, known.get(found.path), commands, report)
        if work is None:
            continue
        waiting.append(work)
        passages += len(work.document.passages)
        if max(passages, len(waiting)) >= TOGETHER:
            passages = 0
            _write(database, documents, waiting, report)
    _write(database, documents, waiting, report)
    blind = [path for path, _ in walk.faults]
    lost = [
        one.number
        for path, one in known.items()
        if path not in seen and _within(path, walk.roots) and not _within(path, blind)
    ]
    database.remove(lost)
    report.removed = len(lost)
    report.left_out += [(os.fsdecode(path), fault) for path, fault in walk.faults]
    return report


def _within(path: bytes, roots: Sequence[bytes]) -> bool:
    return any(path == root or path.startswith(os.path.join(root, b"")) for root in roots)


def _look(
    database: Database,
    documents: Documents,
    found: Found,
    known: Known | None,
    commands: Sequence[Command],
    report: Report,
) -> Work | None:
    """Return what is to be done for a file, None where nothing is."""
    if known is not None and (found.size, found.mtime_ns) == (known.size, known.mtime_ns):
        if known.fault is None:
            report.unchanged += 1
            return None
        if known.fault in NEVER_AGAIN and not commands:
            report.left_out.append((os.fsdecode(found.path), known.fault))
            return None
    source = Source(kind="file", key=found.path, time=found.mtime_ns / 1e9, size=found.size, mtime_ns=found.mtime_ns)
    try:
        data = extract.read_bytes(found.path)
        digest = hashlib.blake2b(data, digest_size=16).digest()
        if known is not None and known.fault is None and digest == known.digest:
            database.touch(source)
            report.unchanged += 1
            return None
        return _read(documents, replace(source, digest=digest), data, commands)
    except Unreadable as error:
        report.left_out.append((os.fsdecode(found.path), str(error)))
        return Work(replace(source, fault=str(error)), Document(()))


def _read(documents: Documents, source: Source, data: bytes, commands: Sequence[Command]) -> Work:
    """Read a file's text and cut it, or take it as an image."""
    path = Path(os.fsdecode(source.key))
    suffixes = {suffix for command in commands for suffix in command.suffixes}
    if extract.is_image(path) and path.suffix.lower() not in suffixes:
        if not documents.takes_images:
            raise Unreadable(IMAGE)
        return Work(source, Document([Passage(0, 0, None, path.name)], image=data))
    text = extract.extract(source.key, data, commands)
    return Work(replace(source, unit=text.unit), documents.cut(text, path.name))


def _write(database: Database, documents: Documents, waiting: list[Work], report: Report) -> None:
    """Embed what waits, in one call where that is little, and put each file in by a transaction of its own."""
    if not waiting:
        return
    coded = documents.encode([work.document for work in waiting])
    for (source, document), made in zip(waiting, coded, strict=True):
        if isinstance(made, InputError):
            database.put([(replace(source, fault=str(made), unit=None), (), ())])
            report.left_out.append((os.fsdecode(source.key), str(made)))
            continue
        database.put([(source, document.passages, made)])
        report.indexed += source.fault is None
        report.passages += len(document.passages)
    waiting.clear()
    database.tidy()
