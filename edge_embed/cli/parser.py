"""The parser of every command: no abbreviations, -q and -v anywhere, and what was probably meant by a wrong word."""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable, Iterator
from typing import Any, NoReturn

from edge_embed.errors import printable
from edge_embed.remedies.nearest import did_you_mean

UNKNOWN = re.compile(r"unrecognized arguments: (?:.* )?(-\S*)")
NO_CHOICE = re.compile(r"invalid choice: (['\"])(?P<word>.*)\1 \(choose from (?P<names>.*)\)", re.S)


class Parser(argparse.ArgumentParser):
    """A parser that takes no abbreviations: `--json` is never `--jsonl`, and a new option breaks no script.

    `fill` adds the options when they are first needed, where what knows them is slow to import.
    """

    fill: Callable[[Parser], object] | None = None

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **{**options, "allow_abbrev": False})
        self.add_argument(
            "-q", "--quiet", action="store_true", default=argparse.SUPPRESS, help="print errors and results alone"
        )
        self.add_argument(
            "-v", "--verbose", action="count", default=argparse.SUPPRESS, help="tell more; -vv what is for developers"
        )

    def filled(self) -> Parser:
        """Return the parser with all of its options."""
        fill, self.fill = self.fill, None
        if fill is not None:
            fill(self)
        return self

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Parse, with all options known."""
        self.filled()
        return super().parse_known_args(args, namespace)

    def error(self, message: str) -> NoReturn:
        """End with the usage and the message, and what was probably meant."""
        super().error(printable(message + self._meant(message)))

    def _meant(self, message: str) -> str:
        if found := NO_CHOICE.search(message):
            return did_you_mean(found["word"], [name.strip("'\" ") for name in found["names"].split(",")])
        if found := UNKNOWN.match(message):
            return did_you_mean(found[1].partition("=")[0], (word for word in options(self) if word.startswith("--")))
        return ""


def subparsers(parser: argparse.ArgumentParser) -> dict[str, Parser]:
    """Return the parsers of a parser's commands, by name; empty where it has none."""
    actions = (action for action in parser._actions if isinstance(action, argparse._SubParsersAction))
    return next((action.choices for action in actions), {})


def options(parser: argparse.ArgumentParser) -> Iterator[str]:
    """List the option strings of a parser and of its commands."""
    for action in parser._actions:
        yield from action.option_strings
    for command in subparsers(parser).values():
        yield from options(command)
