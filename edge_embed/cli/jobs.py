"""The command run: files in, vectors out, as a job that can be stopped and goes on; and what `verify` says of one."""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any, get_args

from edge_embed.device.priority import lower
from edge_embed.errors import InputError, printable
from edge_embed.jobs.settings import ROWS, Execution, Format, JobEngine, JobWorkload, Settings, parse_shard, parse_share
from edge_embed.jobs.watch import Show
from edge_embed.pipeline.special_tokens import SpecialTokens
from edge_embed.pipeline.tokenizer import Truncation
from edge_embed.records.source import Kind
from edge_embed.spec.model import Side
from edge_embed.vectors import Precision

from .battery import add_battery

REJECTED = 3  # the exit code of a job that is done and has no vector for some rows


def configure(commands: Any, default: str) -> None:
    """Add the command to the parser's; `default` is the model where none is named."""
    run = commands.add_parser(
        "run",
        help="embed files into a folder, from wherever an earlier run stopped",
        description="Embed files into a folder. Stopped at any moment, the same command goes on; without inputs, the "
        "job in the folder does. Exit codes: 0 done, 1 refused or failed, 3 done with rejected rows, 130 after Ctrl-C.",
    )
    run.add_argument("inputs", nargs="*", metavar="IN", help="files, folders, globs, or - for standard input")
    run.add_argument("--out", type=Path, metavar="DIR", help="the job's folder")
    run.add_argument("--status", type=Path, metavar="DIR", help="tell how far the job in a folder is, and do nothing")
    _add_settings(run)
    _add_execution(run, default)
    run.set_defaults(run=_run, default_model=default)


def _add_settings(run: argparse.ArgumentParser) -> None:
    """Add what decides the vectors; a job that is taken up must have the same."""
    group = run.add_argument_group("what decides the vectors, and is the same in every run of a job")
    group.add_argument("--task", help="one of the model's tasks, or retrieval.query or .passage")
    group.add_argument("--prompt", dest="prompt_name", metavar="NAME", help="one of the model's prompts")
    group.add_argument("--prompt-text", dest="prompt", metavar="TEXT", help="your own prefix, or template with {text}")
    group.add_argument("--side", choices=get_args(Side), help="whose prompt to take")
    group.add_argument("--dim", type=int, help="keep the first DIM numbers (Matryoshka)")
    group.add_argument("--precision", choices=get_args(Precision), help="default: float32")
    group.add_argument("--truncation", choices=get_args(Truncation), help="default: end")
    group.add_argument("--special-tokens", choices=get_args(SpecialTokens), help="default: tokens")
    group.add_argument("--column", metavar="NAME", help="where texts are in tables and JSON objects (default: text)")
    group.add_argument("--id-column", metavar="NAME", help="default: id, where there is one")
    group.add_argument("--chunk-tokens", type=int, metavar="N", help="cut long texts into passages of N tokens")
    group.add_argument("--overlap", type=int, metavar="N", help="tokens that a passage shares with the one before")
    group.add_argument("--format", choices=get_args(Format), help="default: npy")
    group.add_argument("--rows", type=int, metavar="N", help=f"rows of input in a part (default: {ROWS})")
    group.add_argument(
        "--batch-tokens",
        type=int,
        metavar="N",
        help="of a call, padding included; 1: each text alone (default: as fits)",
    )
    group.add_argument("--with-text", action="store_true", default=None, help="write rejected rows' texts beside them")


def _add_execution(run: argparse.ArgumentParser, default: str) -> None:
    """Add what changes no byte of the parts."""
    group = run.add_argument_group("how it is run, which changes no byte")
    group.add_argument("--model", help=f"default: {default}")
    group.add_argument(
        "--kind", choices=[kind for kind in get_args(Kind) if kind != "folder"], help="of standard input"
    )
    group.add_argument("--processes", type=int, default=1, metavar="K", help="each opens the model (default: 1)")
    group.add_argument("--shard", default="0/1", metavar="I/N", help="every N-th chunk, from 0/N to N-1/N")
    group.add_argument(
        "--threads", type=int, metavar="N", help="of all processes (default: every CPU that may be used)"
    )
    group.add_argument(
        "--cache", type=Path, metavar="FILE", help="vectors of earlier jobs, which are not computed again"
    )
    group.add_argument("--no-dedupe", action="store_true", help="compute a text as often as it occurs")
    group.add_argument("--max-rejected", metavar="N", help="stop when more rows are rejected: a number, or 1%%")
    group.add_argument(
        "--workload", default="bulk", choices=get_args(JobWorkload), help="background: be last, and wait for room"
    )
    add_battery(group)
    group.add_argument("--engine", default="local", choices=get_args(JobEngine), help="ray: processes on a cluster")
    group.add_argument("--cpus", type=float, metavar="N", help="of one of Ray's processes (default: an even share)")
    group.add_argument("--gpus", type=float, metavar="N", help="of one of Ray's processes (default: none)")
    group.add_argument("--progress", default="auto", choices=get_args(Show), help="on standard error")
    group.add_argument("--json", action="store_true", help="print what was done as JSON")


def _run(args: argparse.Namespace) -> int:
    if args.status is not None:
        return _status(args)
    if args.out is None:
        raise InputError("name the job's folder: --out DIR")
    from edge_embed.jobs.running import run_job

    if args.workload == "background":
        lower(whole=True)
    going_on = not args.inputs
    settings = None if going_on and (args.out / "job.json").exists() and not _given(args) else _settings(args)
    model = args.model or (None if settings is None else args.default_model)
    show: Show = "none" if args.quiet else args.progress
    summary = run_job(args.out, args.inputs, settings, _execution(args, model), args.kind, show)
    if args.json:
        print(json.dumps(asdict(summary) | {"files": [str(path) for path in summary.files]}))
    else:
        print(printable(_told(summary, args.out)))
    return REJECTED if summary.rejected else 0


SETTINGS = (
    *("task", "prompt_name", "prompt", "side", "dim", "precision", "truncation", "special_tokens", "column"),
    *("id_column", "chunk_tokens", "overlap", "format", "rows", "batch_tokens", "with_text"),
)


def _given(args: argparse.Namespace) -> dict[str, Any]:
    """Return the settings that the command line states; the others are as Settings has them."""
    return {name: value for name in SETTINGS if (value := getattr(args, name)) is not None}


def _settings(args: argparse.Namespace) -> Settings:
    return Settings(**_given(args))


def _execution(args: argparse.Namespace, model: str | None) -> Execution:
    return Execution(
        processes=args.processes,
        shard=parse_shard(args.shard),
        threads=args.threads,
        cache=args.cache,
        dedupe=not args.no_dedupe,
        max_rejected=None if args.max_rejected is None else parse_share(args.max_rejected),
        workload=args.workload,
        battery_below=args.battery_below,
        engine=args.engine,
        cpus=args.cpus,
        gpus=args.gpus,
        model=model,
    )


def _told(summary: Any, out: Path) -> str:
    rejected = f"; {summary.rejected:,} rejected, see {out}/parts/*.rejected.jsonl" if summary.rejected else ""
    missing = f"; {summary.missing:,} parts of other shards are missing" if summary.missing else ""
    files = ", ".join(str(path) for path in summary.files) or f"{out}/parts"
    return f"{summary.vectors:,} vectors of {summary.rows:,} rows in {files}{rejected}{missing}"


def _status(args: argparse.Namespace) -> int:
    from edge_embed.jobs.status import status

    found = status(args.status)
    print(json.dumps(found.to_json(), indent=2) if args.json else printable(found.sentence()))
    return 0


def verify_job(folder: Path, as_json: bool) -> None:
    """Read all parts of a job; end with an error that names those that are damaged or missing."""
    from edge_embed.jobs.status import verify

    found = verify(folder)
    print(json.dumps(found.to_json(), indent=2) if as_json else printable(found.sentence()))
