"""What the shapes share: bodies that are JSON objects, inputs in their many forms, vectors in theirs."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

import msgspec
import numpy as np
import orjson

from edge_embed.server.ask import Failure, Item
from edge_embed.vectors import Array, Precision, quantize

MOST_INPUTS = 4096  # of one request; OpenAI's own limit is 2,048
SHOWN = 80  # characters of a value that an error repeats
Body = TypeVar("Body", bound=msgspec.Struct)
T = TypeVar("T")
Json = Any


def read(body: bytes, kind: type[Body], known: Sequence[str] = ()) -> tuple[Body, list[str]]:
    """Parse a request -> its fields, null being as absent, and the names of those that are not known.

    Raises Failure for what is no JSON object, and for a field of the wrong type, which it names.
    """
    try:
        raw = msgspec.json.decode(body)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise bad(f"the body is not JSON: {error}") from error
    if not isinstance(raw, dict):
        raise bad(f"the body is a JSON {_kind(raw)}, expected an object")
    fields = {one.encode_name for one in msgspec.structs.fields(kind)}
    given = {name: value for name, value in raw.items() if value is not None and name in fields}
    try:
        return msgspec.convert(given, kind), [name for name in raw if name not in fields and name not in known]
    except msgspec.ValidationError as error:
        message, _, path = str(error).partition(" - at `$.")
        name = path.rstrip("`").partition("[")[0] or None
        raise bad(f"{path.rstrip('`') or 'the body'}: {message}" if path else message, name) from error


def bad(message: str, field: str | None = None) -> Failure:
    """Return the Failure for a request that cannot be read."""
    return Failure(status=400, reason="bad_request", message=message, field=field)


def shown(value: object) -> str:
    """Write a value for an error message, in brief."""
    text = repr(value)
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
    if image is None or image.startswith(("data:", "http://", "https://")):
        return dict(one)
    return {**one, "image": f"data:;base64,{image}"}


def _is_id(one: Json) -> bool:
    return isinstance(one, int) and not isinstance(one, bool)


def _kind(value: Json) -> str:
    return {list: "array", str: "string", type(None): "null", bool: "boolean"}.get(type(value), "number")


def packed(vectors: Array, precision: Precision) -> Array:
    """Quantise rows (n, dim); contiguous, so that each can be written as it is."""
    return np.ascontiguousarray(quantize(vectors, precision))


def as_base64(row: Array) -> str:
    """Write a vector's bytes, little-endian, as base64."""
    return base64.b64encode(row.astype(row.dtype.newbyteorder("<"), copy=False).tobytes()).decode("ascii")


def dump(value: Json) -> bytes:
    """Write JSON; a NumPy row becomes a list of the shortest decimals that read back as the same numbers."""
    return orjson.dumps(value, option=orjson.OPT_SERIALIZE_NUMPY)
