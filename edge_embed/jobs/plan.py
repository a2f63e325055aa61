"""Inputs -> chunks, by one pass whose outcome depends on nothing but their bytes; chunks.jsonl."""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from edge_embed.errors import InputError
from edge_embed.records.row import Chunk, Columns
from edge_embed.records.source import Source

from .folder import JobFolder, canonical
from .inputs import InputFile
from .output import opened
from .settings import Settings


def columns_of(settings: Settings) -> Columns:
    """Return where texts and ids are to be found."""
    return Columns(text=settings.column, id=settings.id_column)


def make_chunks(inputs: Sequence[InputFile], settings: Settings) -> Iterator[Chunk]:
    """Yield the chunks; raises InputError for an input that lacks a column or cannot be read to its end."""
    sources = [Source(one.path, one.kind, columns_of(settings)) for one in inputs]
    numbers = itertools.count()
    with contextlib.ExitStack() as stack:
        for source in sources:  # all of them are looked at before the first is read through
            stack.callback(source.close)
            source.check()
            source.close()
        for index, (source, one) in enumerate(zip(sources, inputs, strict=True)):
            for span in source.spans(settings.rows, one.sha256):
                yield Chunk(number=next(numbers), input=index, **vars(span))
            source.close()


def write_chunks(folder: JobFolder, inputs: Sequence[InputFile], settings: Settings) -> dict[str, Any]:
    """Write chunks.jsonl whole and return what job.json says of it: chunks, rows, SHA-256."""
    digest, count, rows = hashlib.sha256(), 0, 0
    with opened(folder.chunks) as file:
        for chunk in make_chunks(inputs, settings):
            line = canonical({key: value for key, value in asdict(chunk).items() if value != ()}) + b"\n"
            digest.update(line)
            file.write(line)
            count, rows = count + 1, rows + chunk.rows
    return {"count": count, "rows": rows, "sha256": digest.hexdigest()}


def read_chunks(path: Path, job: dict[str, Any]) -> list[Chunk]:
    """Read chunks.jsonl; raise InputError where it is not the one that a job states."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}") from error
    if hashlib.sha256(data).hexdigest() != job["chunks"].get("sha256"):
        raise InputError(f"{path} was changed: delete it, and it is made again from the inputs")
    inputs = len(job["inputs"])
    try:
        return [_chunk(json.loads(line), inputs) for line in data.splitlines()]
    except (TypeError, ValueError, AttributeError, RecursionError) as error:
        raise InputError(f"{path} does not hold chunks: {error}") from error


def _chunk(values: dict[str, Any], inputs: int) -> Chunk:
    """Read a chunk; raises TypeError or ValueError for anything else."""
    chunk = Chunk(**{**values, "files": tuple(values.get("files", ()))})
    numbers = (chunk.number, chunk.input, chunk.start, chunk.stop, chunk.line, chunk.rows)
    if not all(type(number) is int and number >= 0 for number in numbers) or chunk.input >= inputs:
        raise ValueError(f"chunk {chunk.number!r} has numbers that cannot be")
    if not isinstance(chunk.hash, str) or not all(_is_below(name) for name in chunk.files):
        raise ValueError(f"chunk {chunk.number} has names that cannot be")
    return chunk


def _is_below(name: object) -> bool:
    """Whether a name stays in its folder."""
    return isinstance(name, str) and "\0" not in name and not name.startswith("/") and ".." not in name.split("/")
