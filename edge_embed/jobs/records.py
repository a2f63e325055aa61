"""A stream of texts and images -> records, for commands that stop at the first wrong line.

Jobs read with `edge_embed.records`, which needs files: it goes back to any byte, and keeps what is wrong with a row for
later. A pipe allows neither, and whoever types lines into one waits for each answer.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from edge_embed.errors import InputError
from edge_embed.records.row import Input

JSON_LINES = (".jsonl", ".ndjson")
BOM = "\ufeff"
UTF_16 = ("\udcff\udcfe", "\udcfe\udcff")  # its mark, as bytes that are no UTF-8 are read
TABLES = {
    ".csv": "a table, whose lines are no texts",
    ".tsv": "a table, whose lines are no texts",
    ".parquet": "a table, which has no lines",
    ".xlsx": "a table, which has no lines",
    ".json": "one JSON value, whose lines are no texts",
}


@dataclass(frozen=True)
class Record:
    """An input, and what its line says of it that belongs beside its vector: its `id`."""

    input: Input
    fields: Mapping[str, Any] = field(default_factory=dict)


def check_name(name: str) -> None:
    """Raise InputError for a file that its suffix says to be something else than lines."""
    if fault := TABLES.get(Path(name).suffix.lower()):
        raise InputError(
            f'{name} is {fault}: write its texts one a line, or as JSON lines such as {{"id": 1, "text": "..."}} '
            f"into a .jsonl file; `edge-embed embed - < {name}` takes its lines as they are"
        )


def read_records(file: Iterable[str], jsonl: bool) -> Iterator[Record]:
    """Read a text a line, or with `jsonl` an object a line; raise InputError that names the first wrong line.

    The file is to be read as UTF-8 with errors="surrogateescape". A byte order mark is no part of the first text.
    """
    for number, line in enumerate(file, 1):
        if number == 1:
            if line.startswith(UTF_16):
                raise InputError("the file is UTF-16: save it as UTF-8, as with iconv -f UTF-16 -t UTF-8")
            line = line.removeprefix(BOM)
        if not line.isascii():
            _check_encoding(line, number)
        if not jsonl:
            yield Record(line.rstrip("\r\n"))
        elif line.strip():
            try:
                yield _record(json.loads(line))
            except (ValueError, KeyError, AttributeError, RecursionError) as error:
                raise InputError(
                    f'line {number} is not a JSON object with a "text" or an "image": {line.strip():.60}'
                ) from error


def _check_encoding(line: str, number: int) -> None:
    try:
        line.encode()
    except UnicodeEncodeError as error:
        byte = ord(line[error.start]) & 0xFF
        raise InputError(
            f"line {number} is not UTF-8: it has the byte 0x{byte:02x} after {error.start} characters; save the file "
            "as UTF-8, as with iconv -f LATIN1 -t UTF-8"
        ) from None


def _record(value: dict[str, Any]) -> Record:
    """Take the text, the image or both from an object that may say more; KeyError for one that has neither."""
    found = {key: value[key] for key in ("text", "image") if value.get(key) is not None}
    return Record(found if "image" in found else found["text"], {"id": value["id"]} if "id" in value else {})
