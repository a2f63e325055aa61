"""The commands embed and similarity: texts and images in, vectors and scores out."""

from __future__ import annotations

import argparse
import itertools
import json
import sys
from collections import deque
from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import numpy as np
from numpy.typing import NDArray

from edge_embed.backends.facts import FASTEST, names
from edge_embed.errors import InputError, listing, printable
from edge_embed.jobs.output import STANDARD_OUTPUT, SUFFIXES, Format, check_output, opened, write
from edge_embed.jobs.records import Record
from edge_embed.pipeline.special_tokens import SpecialTokens
from edge_embed.progress import tell
from edge_embed.progress.screen import can_redraw, paint
from edge_embed.vectors import Precision

from .texts import Remembered, lines_of, records_of

if TYPE_CHECKING:
    from edge_embed.embedder import Embedder

BACKEND = "fastest: as ONNX, converted once, where that is faster here"
SHOWN, WIDTH = 4, 40  # numbers of a vector and letters of its text that a summary shows


def configure(commands: Any, default: str) -> None:
    """Add the commands to the parser's; `default` is the model where none is named."""
    embed = commands.add_parser("embed", help="turn texts and images into vectors")
    embed.add_argument("texts", nargs="*", metavar="TEXT", help="texts, or - for lines of standard input")
    embed.add_argument("-f", "--file", help="lines, or JSON lines (.jsonl), UTF-8; - is standard input")
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
    embed.add_argument("-o", "--output", type=Path, metavar="FILE", help="it appears when it is complete")
    embed.add_argument(
        "--progress", action=argparse.BooleanOptionalAction, help="a bar on standard error (default: on a terminal)"
    )
    embed.add_argument(
        "--json", action="store_true", help="print all numbers as JSON, on a terminal too, where a summary is shown"
    )
    embed.set_defaults(run=_embed, writes_file=_writes_file)
    similarity = commands.add_parser("similarity", help="compare one text with others")
    similarity.add_argument("first", metavar="A")
    similarity.add_argument("others", nargs="+", metavar="B")
    similarity.add_argument("--json", action="store_true", help="print the scores as JSON")
    similarity.set_defaults(run=_similarity)
    for command in (embed, similarity):
        command.add_argument("--model", help=f"default: {default}")
        command.add_argument(
            "--task", help="one of the model's tasks, or retrieval.query or .passage for that side's prompt"
        )
        command.add_argument("--backend", default="auto", choices=["auto", FASTEST, *names()], help=BACKEND)
        command.add_argument("--threads", type=int, metavar="N", help="default: every CPU that may be used")
        command.add_argument("--max-memory", metavar="SIZE", help="such as 512MB or 1GB; smaller batches keep to it")
        command.add_argument("--offline", action="store_true", default=None, help="never use the network")
        command.add_argument(
            "--special-tokens",
            default="tokens",
            choices=get_args(SpecialTokens),
            help="how to read what spells one in a text, such as [PAD] (default: %(default)s)",
        )
        command.set_defaults(default_model=default)


def _writes_file(args: argparse.Namespace) -> bool:
    """Whether the command writes to a file and prints nothing."""
    return args.output is not None and str(args.output) not in STANDARD_OUTPUT


def _open(args: argparse.Namespace) -> Embedder:
    from edge_embed.embedder import Embedder

    return Embedder(
        args.model or args.default_model,
        task=args.task,
        backend=args.backend,
        threads=args.threads,
        max_memory=args.max_memory,
        offline=args.offline,
        special_tokens=args.special_tokens,
    )


def _embed(args: argparse.Namespace) -> None:
    """Read texts, embed them as they come, write vectors as they are made."""
    output = args.output if _writes_file(args) else None
    form = _format(args, output)
    if output is not None:
        check_output(output)
    options: dict[str, Any] = {
        "prompt_name": args.prompt,
        "prompt": args.prompt_text,
        "truncate_dim": args.dim,
        "precision": args.precision,
        "truncation": args.truncation,
    }
    told: deque[Record] = deque()  # of inputs whose vectors are still to come
    show = args.progress if args.progress is not None or not _scrolls(args, output) else False
    with ExitStack() as stack:
        records = stack.enter_context(records_of(args))
        model = stack.enter_context(_open(args))
        none = model.encode([], **options)
        inputs = Remembered(records, told, lines_of(args.file) if show is not False else 0)
        vectors = model.encode_iter(inputs, **options, show_progress_bar=show)
        if form is None:
            _print_summary(vectors, told, args.precision)
            return
        fields = (told.popleft().fields for _ in itertools.count())
        write(vectors, stack.enter_context(opened(output)), form, fields, none)


def _format(args: argparse.Namespace, output: Path | None) -> Format | None:
    """Return the format that was asked for, or that the file's suffix names; None for a summary on a terminal."""
    form: Format | None = args.format
    if args.json and form not in (None, "json"):
        raise InputError(f"--json and --format {form} were both given: leave one out")
    if form is None and output is not None and output.suffix:
        form = SUFFIXES.get(output.suffix.lower())
        if form is None:
            raise InputError(
                f"cannot tell a format by {output.suffix!r} of {output}: name it with --format, or a file with one of "
                f"{listing(SUFFIXES)}"
            )
    if form == "npy" and output is None:
        raise InputError("--format npy needs a file: add -o FILE.npy")
    if form is not None or args.json or output is not None:
        return form or "json"
    return None if sys.stdout is not None and sys.stdout.isatty() else "json"


def _scrolls(args: argparse.Namespace, output: Path | None) -> bool:
    """Whether results pass on the terminal, so that they tell by themselves how far the work is."""
    return not args.file or (output is None and can_redraw(sys.stdout))


def _print_summary(vectors: Iterable[NDArray[Any]], told: deque[Record], precision: str) -> None:
    """Print a line for each vector: the text, the first numbers, how many there are."""
    for vector in vectors:
        given = told.popleft().input
        label = " + ".join(map(str, given.values())) if isinstance(given, Mapping) else given
        label = label if len(label) <= WIDTH else label[: WIDTH - 3] + "..."
        numbers = " ".join(f"{number:.4f}" if vector.dtype == np.float32 else str(number) for number in vector[:SHOWN])
        about = paint(f"{len(vector)} numbers, {precision}", "dim", sys.stdout)
        print(f"{label!r:{WIDTH + 2}}  [{numbers} ...] {about}")
    tell("All numbers: add --json, or -o vectors.npy. To compare texts: edge-embed similarity A B")


def _similarity(args: argparse.Namespace) -> None:
    with _open(args) as model:
        (scores,) = model.similarity(model.encode(args.first), model.encode(args.others))
    if args.json:
        rows = [{"text": text, "score": float(score)} for text, score in zip(args.others, scores, strict=True)]
        print(json.dumps({"first": args.first, "others": rows}, indent=2))
        return
    for score, text in zip(scores, args.others, strict=True):
        print(f"{paint(f'{score:.4f}', 'cyan', sys.stdout)}\t{printable(text)}")
