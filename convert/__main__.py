"""edge-embed convert SOURCE --out DIR --to FORMAT:LEVEL[,FORMAT:LEVEL...]; the same as python -m edge_embed_convert."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from edge_embed import hub
from edge_embed.errors import EdgeEmbedError, InputError

from .artefacts import convert
from .source import checkpoint_files


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument("source", help="checkpoint: a folder, user/repo[@revision], or package:NAME/FOLDER")
    parser.add_argument("--out", type=Path, required=True, help="where the folder <name>/ is made")
    parser.add_argument("--to", required=True, metavar="FORMAT:LEVEL,...", help="for example onnx:float32,onnx:int8")
    parser.add_argument("--name", help="name of the model and its folder (default: the source's)")
    parser.add_argument("--overwrite", action="store_true", help="replace an existing folder")


def run(args: argparse.Namespace) -> None:
    """Convert as the arguments say, telling each step on standard error."""
    reference = hub.parse(args.source)
    if reference.level:
        raise InputError(f"{args.source!r} names a level; what to make is said by --to")
    folder = hub.resolve(reference, checkpoint_files)
    to = [target.strip() for target in args.to.split(",") if target.strip()]
    target = convert(
        folder,
        args.out,
        to,
        name=args.name or reference.name,
        overwrite=args.overwrite,
        report=lambda line: print(line, file=sys.stderr),
    )
    print(target)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; 0 when the artefacts are there, 1 after an error, 130 after Ctrl-C."""
    parser = argparse.ArgumentParser(prog="python -m edge_embed_convert", description=__doc__)
    configure(parser)
    try:
        run(parser.parse_args(argv))
    except EdgeEmbedError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
