"""The commands index and search: one's own files, found by what they say."""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

from edge_embed.errors import InputError, printable

from .battery import add_battery

if TYPE_CHECKING:
    from edge_embed.search.hits import SearchHit
    from edge_embed.search.index import Index
    from edge_embed.search.warm import Found

Workload = Literal["bulk", "background"]
VARIABLE = "EDGE_EMBED_INDEX"
SHOWN = 240  # letters of a passage on a terminal
LISTED = 20  # files without text that are named, unless all are asked for
LEAST_PAUSE, PAUSES = 2.0, 20  # seconds between two looks, and how many times a look's own time


def configure(commands: Any, default: str) -> None:
    """Add the commands to the parser's; `default` is the model where none is named."""
    index = commands.add_parser("index", help="read files and folders into an index that `search` looks in")
    index.add_argument("paths", nargs="*", type=Path, metavar="PATH", help="default: those that were given before")
    index.add_argument("--model", help=f"of a new index; default: {default}")
    index.add_argument("--task", help="one of the model's tasks")
    index.add_argument("--dims", type=int, metavar="N", help="of a new index: keep the first N numbers (Matryoshka)")
    index.add_argument("--chunk-tokens", type=int, metavar="N", help="of a new index: a passage's length (256)")
    index.add_argument(
        "--late-chunking", action="store_true", help="of a new index: read each document whole, then pool its passages"
    )
    index.add_argument("--exclude", action="append", default=[], metavar="GLOB", help="names or paths; may recur")
    index.add_argument(
        "--extract",
        action="append",
        default=[],
        metavar="COMMAND",
        help="prints the text of a file, as in 'pandoc -t plain {}' or '.docx,.odt=pandoc -t plain {}'; may recur",
    )
    index.add_argument("--watch", action="store_true", help="go on looking for changes, in the background")
    index.add_argument(
        "--workload",
        choices=get_args(Workload),
        help="background: be last, and wait for room (default: with --watch, else bulk)",
    )
    add_battery(index)
    index.add_argument("--status", action="store_true", help="only say what is in the index, and what was left out")
    index.add_argument("--compact", action="store_true", help="only give back the room of what was removed")
    index.add_argument("--remove", type=Path, action="append", default=[], metavar="PATH", help="forget it; may recur")
    index.add_argument("--export", type=Path, metavar="FILE", help="write vectors and passages: .parquet or .npy")
    index.set_defaults(run=_index, default_model=default)
    search = commands.add_parser("search", help="find passages of the files that `index` has read")
    search.add_argument("query", nargs="?", help='"quoted" within the quotes of the shell: letter for letter first')
    search.add_argument("--top", type=int, default=10, metavar="N", help="default: %(default)s")
    search.add_argument("--path", action="append", default=[], metavar="GLOB", help="only of these files; may recur")
    search.add_argument("--since", metavar="DATE", help="only of files changed since, as in 2026-11-30")
    search.add_argument("--until", metavar="DATE")
    search.add_argument("--like", type=Path, metavar="FILE", help="find what is like an indexed file")
    search.add_argument("--image", metavar="FILE", help="find what is like an image, where the model takes them")
    search.add_argument("--model", help="default: the one that made the index")
    search.add_argument(
        "--server", metavar="URL", help="of edge-embed serve, or unix:PATH; default: $EDGE_EMBED_SERVER, or your own"
    )
    search.add_argument("--hybrid", action=argparse.BooleanOptionalAction, default=True, help="count words too")
    search.add_argument("--all", action="store_true", help="what is no nearer than unrelated texts, too")
    search.set_defaults(run=_search)
    for command in (index, search):
        command.add_argument("--index", type=Path, metavar="FILE", help=f"default: ${VARIABLE}, or the user's own")
        command.add_argument("--json", action="store_true", help="print what there is as JSON")


def default_index() -> Path:
    """Return the user's own index."""
    if named := os.environ.get(VARIABLE):
        return Path(named)
    data = os.environ.get("XDG_DATA_HOME") or "~/.local/share"
    try:
        return Path(data).expanduser() / "edge_embed" / "search.db"
    except RuntimeError as error:
        raise InputError("no home folder is known for the index: name one with --index FILE") from error


def _index(args: argparse.Namespace) -> None:
    from edge_embed.search.index import Index

    path = args.index or default_index()
    upkeep = args.status or args.compact or args.remove or args.export
    if upkeep and (args.paths or args.watch):
        raise InputError("--status, --compact, --remove and --export go without PATH and --watch")
    if upkeep:
        with Index.open(path, create=False) as index:
            _upkeep(index, args)
        return
    if not args.paths and not path.exists():
        raise InputError(f"there is no index {path} yet: name files or folders to read")
    with _opened(path, args) as index:
        _update(index, args)
        while args.watch:
            started = time.monotonic()
            _update(index, args, again=True)
            time.sleep(max(LEAST_PAUSE, PAUSES * (time.monotonic() - started)))


def _opened(path: Path, args: argparse.Namespace) -> Index:
    from edge_embed.device.priority import lower
    from edge_embed.embedder import Embedder
    from edge_embed.search.chunk import TOKENS
    from edge_embed.search.extract import check_splitting
    from edge_embed.search.index import Index

    check_splitting()
    workload: Workload = args.workload or ("background" if args.watch else "bulk")
    if workload == "background":
        lower(whole=True)
    if path.exists() and args.model is None:
        if args.task or args.dims or args.chunk_tokens or args.late_chunking:
            told = "--task, --dims, --chunk-tokens and --late-chunking"
            raise InputError(f"{told} are a new index's, and {path} exists")
        return Index.open(path, create=False, workload=workload, battery_below=args.battery_below)
    model = Embedder(
        args.model or args.default_model, task=args.task, workload=workload, battery_below=args.battery_below
    )
    try:
        tokens = args.chunk_tokens or TOKENS
        index = Index.open(path, model, dims=args.dims, chunk_tokens=tokens, late_chunking=args.late_chunking)
    except BaseException:
        model.close()
        raise
    index.owns_model = True
    return index


def _update(index: Index, args: argparse.Namespace, again: bool = False) -> None:
    report = index.add_files([] if again else args.paths, exclude=args.exclude, extract=args.extract)
    if again and not report.indexed and not report.removed:
        return
    if args.json:
        print(json.dumps({**vars(report), "left_out": dict(_shown(report.left_out))}, ensure_ascii=False), flush=True)
        return
    print(
        f"{report.indexed} files indexed ({report.passages} passages), {report.unchanged} unchanged, "
        f"{report.removed} removed, {len(report.left_out)} left out",
        flush=True,
    )
    _list_left_out(report.left_out)


def _shown(left_out: Any) -> list[tuple[str, str]]:
    return [(printable(path), printable(fault)) for path, fault in left_out]


def _list_left_out(left_out: Any) -> None:
    told = [(path, fault) for path, fault in _shown(left_out) if fault != "binary"]
    for path, fault in told[:LISTED]:
        print(f"  {path}: {fault}", file=sys.stderr)
    if len(told) > LISTED:
        print(f"  and {len(told) - LISTED} more: edge-embed index --status --json", file=sys.stderr)


def _upkeep(index: Index, args: argparse.Namespace) -> None:
    if args.remove:
        print(f"{index.remove(paths=args.remove)} files removed")
    if args.compact:
        index.compact()
    if args.export:
        index.export(args.export)
    if args.status:
        status = index.status()
        if args.json:
            facts = {**status.to_json(), "left_out": dict(_shown(status.left_out))}
            print(json.dumps(facts, indent=2, ensure_ascii=False))
            return
        print(f"index     {printable(status.path)}: {(status.bytes + status.derived_bytes) / 1e6:.1f} MB")
        print(
            f"model     {printable(status.model)}, {status.dims} dimensions, passages of {status.chunk_tokens} tokens"
            f"{', read with their documents' if status.late_chunking else ''}"
        )
        print(f"content   {status.files} files, {status.items} items, {status.passages} passages")
        print("folders   " + (", ".join(map(printable, status.roots)) or "none"))
        print(f"left out  {len(status.left_out)} files")
        _list_left_out(status.left_out)


def _search(args: argparse.Namespace) -> None:
    from edge_embed.search.hits import to_json

    given = [one for one in (args.query, args.like, args.image) if one is not None]
    if len(given) != 1:
        raise InputError("give one of a query, --like FILE and --image FILE")
    hits, nearest, reference = _by_service(args) or _by_model(args)
    if args.json:
        print(json.dumps(to_json(hits, reference), ensure_ascii=False))
        return
    for hit in hits:
        _print(hit)
    if not hits:
        told = f": the nearest passage has {nearest.score:.2f}, unrelated texts {reference:.2f}" if nearest else ""
        print(f"nothing fits{told}", file=sys.stderr)


def _by_service(args: argparse.Namespace) -> Found | None:
    """Search a text by a running service, where there is one."""
    if args.query is None or args.model is not None:
        return None
    from edge_embed.search import warm
    from edge_embed.search.filters import make_filters
    from edge_embed.search.reader import Question

    filters = make_filters(args.path, args.since, args.until)
    text = args.query if args.hybrid else None
    question = Question(text=text, top=args.top, filters=filters, least=-1 if args.all else None)
    return warm.find(args.index or default_index(), args.query, question, args.server)


def _by_model(args: argparse.Namespace) -> Found:
    """Search with the model, or with a vector of the index."""
    from edge_embed.search.asked import query_vector
    from edge_embed.search.index import Index
    from edge_embed.search.warm import Found

    with Index.open(args.index or default_index(), args.model, create=False) as index:
        query: Any = args.query
        if args.like is not None:
            query = index.vector_of_file(args.like)
        if args.image is not None:
            query = {"image": args.image}
        limits: dict[str, Any] = {
            "paths": args.path,
            "since": args.since,
            "until": args.until,
            "hybrid": args.hybrid,
            "without": [args.like] if args.like is not None else [],
            "text": args.query,
        }
        query = query_vector(query, index.meta, lambda: index.model, args.server)  # once, for both searches
        hits = index.search(query, top=args.top, least=-1 if args.all else None, **limits)
        reference = index.meta.reference
        best = hits or index.search(query, top=1, least=-1, **limits)
        return Found(hits, best[0] if best else None, reference)


def _print(hit: SearchHit) -> None:
    text = " ".join(printable(hit.text).split())
    print(f"{hit.score:.3f}  {printable(_near(hit.place))}")
    print(f"       {text if len(text) <= SHOWN else text[: SHOWN - 3] + '...'}")


def _near(place: str) -> str:
    """Write a place below the working directory from there, as grep does."""
    here = os.path.join(os.getcwd(), "")
    return place.removeprefix(here)
