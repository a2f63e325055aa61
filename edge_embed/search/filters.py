"""What a search is limited to -> conditions in SQL, which hold before anything is compared."""

from __future__ import annotations

import datetime
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from edge_embed.errors import InputError

Value: TypeAlias = "str | int | float | bool | None"
Where: TypeAlias = "Mapping[str, Value | Sequence[Value]]"
MOST_VALUES = 1000


@dataclass(frozen=True)
class Filters:
    """Conditions on sources, joined by AND, and their values."""

    conditions: tuple[str, ...] = ()
    values: tuple[Value | bytes, ...] = ()

    @property
    def sql(self) -> str:
        """Write the conditions as they follow WHERE ... AND."""
        return "".join(f" AND {condition}" for condition in self.conditions)


def make_filters(
    paths: Sequence[str] = (),
    since: str | float | datetime.date | None = None,
    until: str | float | datetime.date | None = None,
    where: Where | None = None,
    without: Iterable[int] = (),
) -> Filters:
    """Check what a search is limited to.

    A path is a glob whose `*` takes in folders too; without a leading `/` it holds at any depth. `since` and `until`
    are dates (2026-11-30, or with a time), or seconds since 1970. `where` gives values of metadata, or lists of them of
    which one must be there. `without` are numbers of sources. Raises InputError for what cannot be meant.
    """
    conditions: list[str] = []
    values: list[Value | bytes] = []
    if paths:
        globs = [glob if os.path.isabs(glob) else f"*/{glob}" for glob in paths]
        conditions.append("(s.kind = 'file' AND (" + " OR ".join(["CAST(s.key AS TEXT) GLOB ?"] * len(globs)) + "))")
        values += [os.fsencode(glob).decode("utf-8", "replace") for glob in globs]
    for operator, moment, name in ((">=", since, "since"), ("<", until, "until")):
        if moment is not None:
            conditions.append(f"s.time {operator} ?")
            values.append(seconds_of(moment, name))
    for key, wanted in (where or {}).items():
        condition, given = _metadata(key, wanted)
        conditions.append(condition)
        values += given
    if numbers := ",".join(map(str, without)):
        conditions.append(f"s.id NOT IN ({numbers})")
    return Filters(tuple(conditions), tuple(values))


def seconds_of(moment: str | float | datetime.date, name: str = "time") -> float:
    """Return a date or a time as seconds since 1970; without a zone it is this machine's."""
    if isinstance(moment, int | float):
        return float(moment)
    try:
        day = datetime.datetime.fromisoformat(moment) if isinstance(moment, str) else moment
        whole = day if isinstance(day, datetime.datetime) else datetime.datetime(day.year, day.month, day.day)
        return whole.timestamp()
    except (ValueError, TypeError, AttributeError, OverflowError, OSError) as error:
        raise InputError(f"{name}={moment!r} is no date: write it as 2026-11-30, or 2026-11-30T18:00") from error


def _metadata(key: str, wanted: Value | Sequence[Value]) -> tuple[str, list[Value]]:
    """Compare a value of an item's metadata; a key with dots is one key."""
    if not isinstance(key, str) or '"' in key or "\0" in key:
        raise InputError(f"where: the key {key!r} is none of metadata's: give a text without quotation marks")
    several = isinstance(wanted, list | tuple | set)
    choices: list[Value] = list(wanted) if several else [wanted]  # type: ignore[arg-type, list-item]
    odd = [value for value in choices if value is not None and not isinstance(value, str | int | float | bool)]
    if odd or len(choices) > MOST_VALUES:
        raise InputError(
            f"where: {key!r} is compared with texts, numbers, True, False or None, or with a list of at most "
            f"{MOST_VALUES} of them; got {odd[0] if odd else len(choices)!r}"
        )
    place = f"$.{json.dumps(key, ensure_ascii=False)}"
    tests = ["json_extract(s.metadata, ?) IS ?"] * len(choices)
    return f"({' OR '.join(tests) or '0'})", [part for value in choices for part in (place, value)]
