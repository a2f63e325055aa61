"""The command convert: the converter's own, whose libraries are an extra, and slow to load."""

from __future__ import annotations

import importlib
from typing import Any

from edge_embed.errors import MissingDependencyError
from edge_embed.remedies.installing import install_extra

from .parser import Parser


def configure(commands: Any, default: str) -> None:
    """Add the command to the parser's; its options are asked of the converter when they are needed."""
    convert = commands.add_parser("convert", help="make runnable, verified weights from a checkpoint")
    convert.fill = _fill


def _fill(parser: Parser) -> None:
    try:
        converter: Any = importlib.import_module("edge_embed_convert.__main__")
    except ModuleNotFoundError as error:
        raise MissingDependencyError(f"convert needs {error.name}: {install_extra('convert')}") from error
    converter.configure(parser)
    parser.set_defaults(run=converter.run)
