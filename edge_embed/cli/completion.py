"""The command completion: a script that completes commands, options, models and files in bash, fish or zsh.

It is written from the parser itself. Models are asked for when they are wanted, by `edge-embed completion models`.
"""

from __future__ import annotations

import argparse
import importlib
import re
from typing import Any

SHELLS = ("bash", "fish", "zsh")
MODELS = "models"  # in a shell's place: the names of models that may be completed, a line each
NAME = re.compile(r"[\w./:@+-]+")  # a name that a shell leaves as it is; others, of a hub's making, are not offered


def configure(commands: Any, default: str) -> None:
    """Add the command to the parser's."""
    command = commands.add_parser(
        "completion", help="print a script that completes commands, options, models and files in a shell"
    )
    command.add_argument(
        "shell",
        choices=[*SHELLS, MODELS],
        help="for now: `source <(edge-embed completion bash)`, in fish `edge-embed completion fish | source`; "
        "for good: into ~/.bashrc, or as _edge-embed into a folder of zsh's fpath, "
        "or as edge-embed.fish into ~/.config/fish/completions; `models` prints the names that may be completed",
    )
    command.set_defaults(run=_print)


def _print(args: argparse.Namespace) -> None:
    if args.shell == MODELS:
        from edge_embed.loading.request import hub_cache, own_cache
        from edge_embed.loading.similar import known_models

        print(*filter(NAME.fullmatch, known_models(hub_cache(), own_cache())), sep="\n")
        return
    from .main import parser
    from .option import commands_of

    writer = importlib.import_module(f".completions.{args.shell}", __package__)
    print(writer.script(commands_of(parser())), end="")
