"""What the shapes share: bodies that are JSON objects, inputs in their many forms, vectors in theirs."""

from __future__ import annotations

import base64
import re
import reprlib
from collections.abc import Mapping
from functools import cache
from typing import Any, TypeVar

import msgspec
import numpy as np
import orjson

from edge_embed.server.ask import Answer, Failure, Item
from edge_embed.vectors import Array, Precision, quantize

MOST_INPUTS = 4096  # of one request; OpenAI's own limit is 2,048
SHOWN = 80  # characters of a value that an error repeats
Body = TypeVar("Body", bound=msgspec.Struct)
T = TypeVar("T")
Json = Any
Values = tuple[Json, ...]
NONE: Mapping[str, Values] = {}
BRIEF = reprlib.Repr()
BRIEF.maxstring = BRIEF.maxother = SHOWN
STEPS = re.compile(r"\[[^\]]*\]|[^.\[]+")


def parse(body: bytes) -> dict[str, Json]:
    """Parse a JSON object; raise Failure for anything else."""
    try:
        raw = msgspec.json.decode(body)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise bad(f"the body is not JSON: {error}") from error
    if not isinstance(raw, dict):
        raise bad(f"the body is a JSON {_kind(raw)}, expected an object")
    return raw


def convert(raw: Mapping[str, Json], kind: type[Body], harmless: Mapping[str, Values] = NONE) -> tuple[Body, list[str]]:
    """Read an object -> its fields, null being as absent, and the names of those that are not known.

    `harmless` are fields of other servers that change the vectors, each with the values that change nothing. Raises
    Failure for their other values, and for a field of the wrong type, which it names.
    """
    fields = _names(kind)
    given = {name: value for name, value in raw.items() if value is not None}
    for name in given.keys() & harmless.keys():
        if given[name] not in harmless[name]:
            value = shown(given[name])
            raise bad(f"{name}={value} would change the vectors, and this server cannot do that: leave it out", name)
    try:
        known = {name: value for name, value in given.items() if name in fields}
        return msgspec.convert(known, kind), [name for name in given if name not in fields]
    except RecursionError as error:
        raise bad("the body is nested too deep") from error
    except msgspec.ValidationError as error:
        message, _, path = str(error).rstrip("`").partition(" - at `$.")
        name = path.partition("[")[0].partition(".")[0]
        raise bad(f"{path}={shown(_at(given, path))}: {message.lower()}", name) from error


@cache
def _names(kind: type[msgspec.Struct]) -> frozenset[str]:
    """Return the names of a type's fields, whose annotations take longer to read than a text takes to embed."""
    return frozenset(one.encode_name for one in msgspec.structs.fields(kind))


def _at(value: Json, path: str) -> Json:
    """Return what is at a path of msgspec's, such as `input[3]`; the object itself where it says `[...]`."""
    for step in STEPS.findall(path):
        if step == "[...]":
            break
        value = value[int(step[1:-1])] if step.startswith("[") else value[step.lstrip(".")]
    return value


def bad(message: str, field: str | None = None) -> Failure:
    """Return the Failure for a request that cannot be read."""
    return Failure(status=400, reason="bad_request", message=message, field=field)


def shown(value: object) -> str:
    """Write a value for an error message, in brief, however long or deep it is."""
    text = BRIEF.repr(value)
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}..."


def pick(value: Any, known: Mapping[Any, T], field: str) -> T:
    """Return what a word stands for, that of None if there is none; raise Failure that lists the known ones."""
    if value not in known:
        words = ", ".join(repr(word) for word in known if word is not None)
        raise bad(f"{field}={shown(value)} is not known: choose from {words}", field)
    return known[value]


def inputs_of(given: Json, field: str = "input") -> list[Item]:
    """Return inputs that come as a text, a list of texts, token ids, lists of them, or objects of text and image.

    Raises Failure for others, for none, and for too many.
    """
    if isinstance(given, str | Mapping):
        return [_item(given, field, field)]
    if given and all(_is_id(one) for one in given):
        return [list(given)]
    check_number(len(given), field)
    return [_item(one, f"{field}[{n}]", field) for n, one in enumerate(given)]


def positive(field: str, *sizes: int | None) -> int | None:
    """Return the size that some of a field's names say; raise Failure for two that differ, and for less than 1."""
    found = {size for size in sizes if size is not None}
    if len(found) > 1 or any(size < 1 for size in found):
        raise bad(f"{field}={shown(sorted(found))}: give one number from 1 on", field)
    return next(iter(found), None)


def check_number(count: int, field: str) -> None:
    """Raise Failure for no inputs, and for too many."""
    if count == 0:
        raise bad(f"{field} is empty: send at least one input", field)
    if count > MOST_INPUTS:
        raise Failure(
            status=413,
            reason="too_many",
            message=f"{field} has {count:,} inputs, this server takes {MOST_INPUTS:,} in a request: send fewer",
            field=field,
        )


def _item(one: Json, where: str, field: str) -> Item:
    if isinstance(one, str):
        return one
    if isinstance(one, list) and one and all(_is_id(id) for id in one):
        return list(one)
    known = isinstance(one, Mapping) and one and one.keys() <= {"text", "image"}
    if known and all(isinstance(value, str) for value in one.values()):
        return image_item(one)
    raise bad(f'{where} is {shown(one)}, expected a text, {{"text": ...}} or {{"image": ...}}', field)


def image_item(one: Mapping[str, str]) -> Mapping[str, str]:
    """Return an item whose image, where it is bare base64 as in Jina's API, is a data URI."""
    image = one.get("image")
    if image is None or image[:5].lower() == "data:" or "://" in image[:16]:
        return dict(one)
    return {**one, "image": f"data:image/*;base64,{image}"}


def _is_id(one: Json) -> bool:
    return isinstance(one, int) and not isinstance(one, bool)


def _kind(value: Json) -> str:
    return {list: "array", str: "string", type(None): "null", bool: "boolean"}.get(type(value), "number")


def vectors_of(answer: Answer) -> Array:
    """Return the vectors (n, dim), zeros for inputs that failed; raise Failure where another is not finite.

    JSON cannot say such numbers.
    """
    vectors, failed = answer.computed.vectors, list(answer.computed.errors)
    if failed:
        vectors = vectors.copy()
        vectors[failed] = 0
    if not np.isfinite(vectors).all():
        raise Failure(status=500, reason="internal", message="the model gave a vector that is not finite")
    return vectors


def packed(vectors: Array, precision: Precision) -> Array:
    """Quantise rows (n, dim); contiguous, so that each can be written as it is."""
    return np.ascontiguousarray(quantize(vectors, precision))


def as_base64(row: Array) -> str:
    """Write a vector's bytes, little-endian, as base64."""
    return base64.b64encode(row.astype(row.dtype.newbyteorder("<"), copy=False).tobytes()).decode("ascii")


def dump(value: Json) -> bytes:
    """Write JSON; a NumPy row becomes a list of the shortest decimals that read back as the same numbers."""
    return orjson.dumps(value, option=orjson.OPT_SERIALIZE_NUMPY)
