"""Regular expressions that come with a model, matched only where Python's engine, which backtracks, must soon end.

Refused are repeats of what repeats or chooses in itself, whose cost is exponential, and more repeats one after another
than names of that length allow. A choice between parts counts as the dearest of them.
"""

from __future__ import annotations

import math
import re
from functools import lru_cache

from edge_embed.errors import CorruptModelError, UnsupportedModelError

LONGEST = 4096  # characters of a pattern
STEPS = 1_000_000  # ways to share a name among a pattern's repeats; some tenths of a second
MORE_THAN_ONCE = re.compile(r"[*+]|\{(?P<least>\d*)(?P<most>,\d*)?\}")
CLASS = re.compile(r"\[\^?\]?(?:[^\]\\]|\\.)*\]", re.S)


def match(pattern: str, name: str, where: object, *, whole: bool = False) -> re.Match[str] | None:
    """Match a name from its beginning, with `whole` to its end.

    Raises CorruptModelError for a pattern that is none, UnsupportedModelError for one that could take for ever.
    """
    compiled, repeats = _compiled(pattern, str(where))
    if repeats is None or math.comb(len(name) + 1, repeats) > STEPS:
        raise UnsupportedModelError(
            f"{where}: the pattern {pattern!r:.120} could take for ever on {name!r:.80}: write it without repeats of "
            "repeats or choices, or merge with PEFT, then convert the result"
        )
    return compiled.fullmatch(name) if whole else compiled.match(name)


@lru_cache(maxsize=4096)
def _compiled(pattern: str, where: str) -> tuple[re.Pattern[str], int | None]:
    if len(pattern) > LONGEST:
        raise CorruptModelError(
            f"{where}: {pattern!r:.80} is not a regular expression: it is longer than {LONGEST}; correct it"
        )
    try:
        return re.compile(pattern), _repeats(pattern)
    except (re.error, OverflowError, RecursionError) as error:
        raise CorruptModelError(
            f"{where}: {pattern!r:.200} is not a regular expression: {error}; correct it"
        ) from error


def _repeats(pattern: str) -> int | None:
    """Count the repeats that one match may go through; None where one holds another, or a choice."""
    if re.search(r"\(\?[a-zA-Z]*x", pattern):
        return None  # comments and blanks would be read as what they are not
    open_groups: list[_Group] = []
    group, last, at = _Group(), _Group(), 0  # `last`: the group that a repeat after it would repeat
    while at < len(pattern):
        char, part = pattern[at], None
        if char == "\\":
            at, last = at + 2, _Group()
        elif char == "[" and (part := CLASS.match(pattern, at)):
            at, last = part.end(), _Group()
        elif char == "(":
            open_groups.append(group)
            group, at = _Group(), at + (2 if pattern.startswith("(?", at) else 1)
        elif char == ")" and open_groups:
            last, group, at = group, open_groups.pop(), at + 1
            group.repeats += last.count
            group.chooses |= last.chooses
        elif char == "|":
            group.dearest, group.repeats, group.chooses, at = group.count, 0, True, at + 1
        elif char == "?":
            group.chooses, at = True, at + 1
        elif part := MORE_THAN_ONCE.match(pattern, at):
            if last.chooses:
                return None
            group.repeats, group.chooses, at = group.repeats + 1, True, part.end()
            at += pattern.startswith(("?", "+"), at)
            last = _Group()
        else:
            at, last = at + 1, _Group()
    return group.count


class _Group:
    """What was seen of a group: repeats in this part and in its dearest one, and whether it can match in two ways."""

    def __init__(self) -> None:
        self.repeats, self.dearest, self.chooses = 0, 0, False

    @property
    def count(self) -> int:
        """Repeats of the dearest part."""
        return max(self.dearest, self.repeats)
