"""The commands that advise: plan, doctor, compat."""

from __future__ import annotations

import argparse
import json
import textwrap
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

from edge_embed.errors import InputError
from edge_embed.loading.find import explain_place, find_model
from edge_embed.loading.request import load_request
from edge_embed.selection.choose import BATCH_TOKENS, choose
from edge_embed.selection.doctor import diagnose
from edge_embed.selection.memory import MIN_BATCH_TOKENS, MemoryPlan, memory_plan, memory_plans
from edge_embed.selection.speed import Workload

from .demo import passages
from .models import WORKLOAD
from .table import print_table


def configure(commands: Any, default: str) -> None:
    """Add the commands to the parser's; `default` is the model where none is named."""
    plan = commands.add_parser("plan", help="tell how much memory each of a model's candidates will take")
    plan.add_argument("model", nargs="?", default=default, metavar="MODEL", help=f"default: {default}")
    plan.add_argument("--max-memory", metavar="SIZE", help="such as 512MB or 1GB; default: what this machine allows")
    plan.add_argument("--max-tokens", type=int, help="the longest text; default: the model's own limit")
    plan.add_argument("--json", action="store_true")
    plan.set_defaults(run=_plan)
    doctor = commands.add_parser(
        "doctor", help="tell what this machine is, what is installed, and what would be faster"
    )
    doctor.add_argument("model", nargs="?", metavar="MODEL", help="tell what would be chosen of it, too")
    doctor.add_argument("--json", action="store_true")
    doctor.set_defaults(run=_doctor)
    compat = commands.add_parser("compat", help="tell whether vectors of A may be searched with queries of B")
    compat.add_argument("a", metavar="A")
    compat.add_argument("b", metavar="B")
    compat.add_argument("--texts", type=Path, metavar="FILE", help="lines to compare with; default: our guide")
    compat.add_argument("--task", help="one of the models' tasks")
    compat.add_argument("--json", action="store_true")
    compat.set_defaults(run=_compat)
    for command in (plan, doctor):
        command.add_argument("--workload", default="bulk", choices=get_args(Workload), help=WORKLOAD)
        command.add_argument("--cache-dir", type=Path, help="default: the hub's cache, and edge_embed's own")


def _plan(args: argparse.Namespace) -> None:
    """Print what each candidate will take, and which would be loaded."""
    if args.max_tokens is not None and args.max_tokens < 1:
        raise InputError(f"--max-tokens {args.max_tokens} must be at least 1")
    request = load_request(
        args.model,
        max_memory=args.max_memory,
        max_tokens=args.max_tokens,
        workload=args.workload,
        cache_dir=args.cache_dir,
    )
    limit = request.memory_limit
    with find_model(request, look=True) as found:
        plans = memory_plans(found.model, args.max_tokens, BATCH_TOKENS)
        choice = choose(found.model, replace(request.constraints, backend="auto", measure=False))
        smallest = 0
        if choice.ready:
            plan = memory_plan(found.model, choice.weights, args.max_tokens, MIN_BATCH_TOKENS, choice.backend)
            smallest = plan.total
    if args.json:
        rows = [vars(plan) | {"total": plan.total, "fits": limit is None or plan.total <= limit} for plan in plans]
        chosen = {"choice": choice.name, "why": choice.why}
        print(json.dumps({"max_memory": limit, "candidates": rows} | chosen, indent=2))
        return
    _print_table(plans, limit)
    within = f"within {limit / 1e6:,.0f} MB: " if limit is not None else ""
    if limit is not None and smallest > limit:
        print(f"{within}nothing fits: a smaller --max-tokens helps")
    else:
        print(f"{within}{choice.name} would be loaded ({choice.why})")


def _print_table(plans: list[MemoryPlan], limit: int | None) -> None:
    """Print a row for each candidate, in megabytes."""
    names = ["weights", "kv", "compute", "output", "image", "tokenizer", "runtime", "total"]
    fits = ["" if limit is None else ("fits" if plan.total <= limit else "too large") for plan in plans]
    rows = [
        [plan.candidate, *(f"{getattr(plan, name) / 1e6:,.0f}" for name in names), fit]
        for plan, fit in zip(plans, fits, strict=True)
    ]
    colours = ["green" if fit == "fits" else "yellow" for fit in fits]
    print_table(["MB", *names, ""], rows, right=range(1, len(names) + 1), colours=colours)


def _doctor(args: argparse.Namespace) -> None:
    """Print one paragraph, or JSON for a ticket; of a model, what would be chosen and why."""
    diagnosis = diagnose()
    chosen = fastest = None
    if args.model:
        request = load_request(args.model, workload=args.workload, cache_dir=args.cache_dir)
        with find_model(request, look=True) as found:
            constraints = replace(request.constraints, measure=False)
            choice, other = (choose(found.model, replace(constraints, converting=one)) for one in (False, True))
            fastest = f"{other.name}, {other.why}" if other.instead else None
            chosen = f"{choice.name} ({choice.why}){explain_place(request, found)}"
    if args.json:
        print(json.dumps(diagnosis.to_json() | {"model": args.model, "choice": chosen, "fastest": fastest}, indent=2))
        return
    sentence = f" Of {args.model}, {chosen} would be loaded." if chosen else ""
    sentence += f' backend="fastest" would load {fastest}.' if fastest else ""
    print(textwrap.fill(diagnosis.paragraph() + sentence, 100, break_long_words=False, break_on_hyphens=False))


def _compat(args: argparse.Namespace) -> None:
    """Print the answer; a text or a JSON object."""
    from edge_embed.compat import compare
    from edge_embed.embedder import Embedder

    texts = _lines(args.texts) if args.texts else passages()
    with Embedder(args.a, task=args.task) as a, Embedder(args.b, task=args.task) as b:
        found = compare(a, b, texts)
    print(json.dumps(found.to_json(), indent=2) if args.json else found.sentence())


def _lines(path: Path) -> list[str]:
    try:
        return [line for line in path.read_text("utf-8").splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"cannot read texts from {path}: {error}") from error
