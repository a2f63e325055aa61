"""A file of texts and images -> inputs, read as they are needed."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, TypeAlias

from edge_embed.errors import InputError

Input: TypeAlias = "str | Mapping[str, Any]"


def read_records(file: Iterable[str], jsonl: bool) -> Iterator[Input]:
    """Read a text a line, or with `jsonl` an object a line; raise InputError that names the first wrong line."""
    for number, line in enumerate(file, 1):
        if not jsonl:
            yield line.rstrip("\r\n")
        elif line.strip():
            try:
                yield _record(json.loads(line))
            except (ValueError, KeyError, AttributeError) as error:
                raise InputError(
                    f'line {number} is not a JSON object with a "text" or an "image": {line.strip():.60}'
                ) from error


def _record(value: dict[str, Any]) -> Input:
    """Take the text, the image or both from an object that may say more; KeyError for one that has neither."""
    found = {key: value[key] for key in ("text", "image") if value.get(key) is not None}
    return found if "image" in found else found["text"]
