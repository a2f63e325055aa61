"""The texts and images that a command is given: words of its line, a file, or standard input."""

from __future__ import annotations

import argparse
import itertools
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from edge_embed.errors import InputError
from edge_embed.jobs.records import JSON_LINES, Record, check_name, read_records
from edge_embed.loading.similar import neighbours
from edge_embed.records.row import Input
from edge_embed.remedies.nearest import did_you_mean

from .streams import standard_input


@contextmanager
def records_of(args: argparse.Namespace) -> Iterator[Iterable[Record]]:
    """Give the texts of the command line, of a file, or of standard input, read as they are needed; then images."""
    source = "-" if args.texts == ["-"] else args.file
    if (args.texts and args.file) or not (args.texts or args.file or args.image):
        raise InputError("give texts, or -f FILE, or - for standard input, and images with --image FILE")
    images = [Record({"image": image}) for image in args.image]
    if source is None:
        yield [*(Record(text) for text in args.texts), *images]
        return
    jsonl = args.jsonl or Path(source).suffix.lower() in JSON_LINES
    if source == "-":
        yield itertools.chain(read_records(standard_input(), jsonl), images)
        return
    if not jsonl:
        check_name(source)
    try:
        file = open(source, encoding="utf-8", errors="surrogateescape")  # noqa: SIM115 - closed below
    except OSError as error:
        meant = did_you_mean(source, neighbours(Path(source))) if isinstance(error, FileNotFoundError) else ""
        raise InputError(f"cannot read {source}: {error.strerror}{meant}") from error
    with file:
        yield itertools.chain(read_records(file, jsonl), images)


def lines_of(source: str | None) -> int:
    """Count the lines of a file, for the time left; 0 where it cannot be read twice."""
    if source is None or not Path(source).is_file():
        return 0
    with open(source, "rb", buffering=0) as file:
        return sum(part.count(b"\n") for part in iter(lambda: file.read(1 << 20), b""))


class Remembered:
    """Inputs whose records are kept until their vectors come; `count` is about how many there are."""

    def __init__(self, records: Iterable[Record], told: deque[Record], count: int) -> None:
        self._records, self._told, self._count = records, told, count

    def __length_hint__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[Input]:
        for record in self._records:
            self._told.append(record)
            yield record.input
