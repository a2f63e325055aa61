"""What the parser knows of a command and its options, as data: what completion scripts are written from."""

from __future__ import annotations

import argparse
import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from edge_embed.errors import MissingDependencyError

from .parser import Parser, subparsers

MODELS = ("model", "models", "a", "b", "source")  # what arguments are called that name a model
FILES = ("file", "image", "inputs")


@dataclass(frozen=True)
class Option:
    """An option, or with no strings a positional argument; `takes` is None for an option that nothing follows."""

    strings: tuple[str, ...]
    help: str
    takes: Literal["model", "file", "text"] | None
    words: tuple[str, ...] = ()


@dataclass(frozen=True)
class Command:
    """What a command is for, and what it takes."""

    help: str
    options: tuple[Option, ...]


def commands_of(parser: Parser) -> dict[tuple[str, ...], Command]:
    """Return every command by its words, the parser itself by none; convert's options only where it is installed."""
    return dict(_commands(parser, (), parser.description or ""))


def _commands(parser: Parser, words: tuple[str, ...], told: str) -> Iterator[tuple[tuple[str, ...], Command]]:
    with contextlib.suppress(MissingDependencyError):  # an extra
        parser.filled()
    yield words, Command(told, tuple(_options(parser)))
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            helps = {one.dest: one.help or "" for one in action._choices_actions}
            for name, command in subparsers(parser).items():
                yield from _commands(command, (*words, name), helps.get(name, ""))


def _options(parser: argparse.ArgumentParser) -> Iterator[Option]:
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            continue
        told = (action.help or "").replace("%(default)s", str(action.default))
        yield Option(tuple(action.option_strings), told, _takes(action), tuple(map(str, action.choices or ())))


def _takes(action: argparse.Action) -> Literal["model", "file", "text"] | None:
    if action.nargs == 0:
        return None
    if action.dest in MODELS:
        return "model"
    return "file" if action.type is Path or action.dest in FILES else "text"
