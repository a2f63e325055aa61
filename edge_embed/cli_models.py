"""The commands about models on this machine: pull, list, path, verify, rm, plan, doctor."""

from __future__ import annotations

import argparse
import json
import shutil
import textwrap
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, get_args

from . import find, hub
from .demo import passages
from .device import this_device
from .doctor import diagnose
from .errors import CorruptModelError, InputError, ModelNotFoundError
from .hub_cache import Cached, cached_models, remove, wrong_files
from .hub_repository import find_cached
from .plan import plans, size_in_bytes
from .prepare import cache_folder
from .repo import Repo, weight_files
from .select import BATCH_TOKENS, LEAST_TOKENS, Choice, choose, peak
from .spec import FILE_NAME, ModelSpec
from .sums import wrong_sums
from .tuning import Workload, name_of, speeds

WORKLOAD = "what it is to be fast for: many texts at a time, or one short text after the other"


@dataclass(frozen=True)
class Local:
    """A model on this disk: what to call it, what of it is there, and its folder."""

    name: str
    holds: str
    size: int
    folder: Path


def configure(commands: Any, default: str) -> None:
    """Add the commands to the parser's; `default` is the model where none is named."""
    pull = commands.add_parser("pull", help="download a model, or what it still lacks, and print its folder")
    pull.set_defaults(run=_pull)
    path = commands.add_parser("path", help="print the folder of a model that is on this machine")
    path.set_defaults(run=_path)
    verify = commands.add_parser("verify", help="compare every file with the hash that the hub or the folder names")
    verify.set_defaults(run=_verify)
    delete = commands.add_parser("rm", help="delete a downloaded model, and what was converted from it")
    delete.set_defaults(run=_rm)
    for command in (pull, path, verify, delete):
        command.add_argument(
            "model", metavar="MODEL", help="[hf://]user/repo[:LEVEL][@REVISION], a folder, or package:"
        )
    plan = commands.add_parser("plan", help="tell how much memory each of a model's candidates will take")
    plan.add_argument("model", nargs="?", default=default, metavar="MODEL", help=f"default: {default}")
    plan.add_argument("--max-memory", metavar="SIZE", help="such as 512MB or 1GB; default: what this machine allows")
    plan.add_argument("--max-tokens", type=int, help="the longest text; default: the model's own limit")
    plan.add_argument("--json", action="store_true")
    plan.set_defaults(run=_plan)
    for command in (pull, path, plan):
        command.add_argument("--workload", default="bulk", choices=get_args(Workload), help=WORKLOAD)
    doctor = commands.add_parser(
        "doctor", help="tell what this machine is, what is installed, and what would be faster"
    )
    doctor.add_argument("model", nargs="?", metavar="MODEL", help="tell what would be chosen of it, too")
    doctor.add_argument("--workload", default="bulk", choices=get_args(Workload), help=WORKLOAD)
    doctor.add_argument("--json", action="store_true")
    doctor.set_defaults(run=_doctor)
    compat = commands.add_parser("compat", help="tell whether vectors of A may be searched with queries of B")
    compat.add_argument("a", metavar="A")
    compat.add_argument("b", metavar="B")
    compat.add_argument("--texts", type=Path, metavar="FILE", help="lines to compare with; default: our guide")
    compat.add_argument("--task", help="one of the models' tasks")
    compat.add_argument("--json", action="store_true")
    compat.set_defaults(run=_compat)
    every = commands.add_parser("list", help="list the models in the caches: downloaded and converted")
    every.add_argument("--json", action="store_true")
    every.set_defaults(run=_list)
    for command in (pull, path, verify, delete, plan, doctor, every):
        command.add_argument("--cache-dir", type=Path, help="default: the hub's cache, and edge_embed's own")


def _pull(args: argparse.Namespace) -> None:
    print(find.find(hub.parse(args.model), args.cache_dir, wish=find.Wish(workload=args.workload)).folder)


def _path(args: argparse.Namespace) -> None:
    print(find.find(hub.parse(args.model), args.cache_dir, True, wish=find.Wish(workload=args.workload)).folder)


def _verify(args: argparse.Namespace) -> None:
    """Hash what is there; end with an error that lists every file that is not as it was published."""
    reference = hub.parse(args.model)
    if reference.is_repository:
        folder = find_cached(reference.place, reference.revision, args.cache_dir)
        if folder is None:
            raise ModelNotFoundError(f"{reference.place} is not in the cache: edge-embed pull {args.model}")
        count, wrong = sum(not path.is_dir() for path in folder.rglob("*")), wrong_files(folder)
    else:
        folder = hub.resolve(reference, partial(weight_files, reference.level), args.cache_dir)
        folder = folder if folder.is_dir() else folder.parent
        count, wrong = wrong_sums(folder)
        if not count:
            raise InputError(f"{folder} names no hashes, neither in {FILE_NAME} nor in SHA256SUMS: nothing to compare")
    if wrong:
        remedy = "edge-embed rm, then pull" if reference.is_repository else "copy or convert it again"
        lines = "\n  ".join(wrong)
        raise CorruptModelError(f"{len(wrong)} of {count} files in {folder} are wrong ({remedy}):\n  {lines}")
    print(f"{count} files in {folder} are as published")


def _rm(args: argparse.Namespace) -> None:
    reference = hub.parse(args.model)
    if reference.level is not None:
        raise InputError(f"{args.model!r}: a level cannot be removed alone; leave :{reference.level} out")
    converted = [
        (folder, size)
        for folder, spec, size in _converted(args.cache_dir)
        if reference.place in (spec.source, str(folder)) and reference.revision in (None, spec.revision)
    ]
    downloaded = [
        one
        for one in (cached_models(args.cache_dir) if reference.is_repository else ())
        if one.snapshot.repo == reference.place and reference.revision in (None, one.snapshot.commit, *one.revisions)
    ]
    if not converted and not downloaded:
        raise ModelNotFoundError(f"{args.model} is in no cache, so there is nothing to remove; see edge-embed list")
    for folder, _ in converted:
        shutil.rmtree(folder.parent)  # with its lock
    freed = remove(downloaded) + sum(size for _, size in converted)
    print(f"removed {len(downloaded)} downloads and {len(converted)} conversions: {freed / 1e6:,.1f} MB")


def _list(args: argparse.Namespace) -> None:
    models = [_local(one) for one in cached_models(args.cache_dir)]
    for folder, spec, size in _converted(args.cache_dir):
        levels = ", ".join(f"{weights.format}:{weights.level}" for weights in spec.weights)
        models.append(Local(spec.source or spec.name, f"converted to {levels}", size, folder))
    if args.json:
        print(json.dumps([vars(model) | {"folder": str(model.folder)} for model in models], indent=2))
        return
    for model in models:
        print(f"{model.size / 1e6:10,.1f} MB  {model.name}  ({model.holds})  {model.folder}")
    if not models:
        print("no models in the caches: edge-embed pull user/repo")


def _plan(args: argparse.Namespace) -> None:
    if args.max_tokens is not None and args.max_tokens < 1:
        raise InputError(f"--max-tokens {args.max_tokens} must be at least 1")
    limit = size_in_bytes(args.max_memory) if args.max_memory else this_device().memory_limit
    reference = hub.parse(args.model)
    wish = find.Wish(workload=args.workload, max_memory=limit, max_tokens=args.max_tokens)
    with find.look(reference, args.cache_dir, wish=wish) as repo:
        candidates = plans(repo, args.max_tokens, BATCH_TOKENS)
        choice = _choice(repo, reference, wish, args.cache_dir)
        smallest = peak(repo, choice.weights, args.max_tokens, LEAST_TOKENS) if choice.ready else 0
    if args.json:
        rows = [vars(plan) | {"total": plan.total, "fits": limit is None or plan.total <= limit} for plan in candidates]
        chosen = {"choice": name_of(choice.weights), "why": choice.why}
        print(json.dumps({"max_memory": limit, "candidates": rows} | chosen, indent=2))
        return
    names = ["weights", "kv", "compute", "output", "picture", "tokenizer", "runtime", "total"]
    print(f"{'MB':16}" + "".join(f"{name:>11}" for name in names))
    for plan in candidates:
        fits = "" if limit is None else ("   fits" if plan.total <= limit else "   too large")
        print(f"{plan.candidate:16}" + "".join(f"{getattr(plan, name) / 1e6:11,.0f}" for name in names) + fits)
    within = f"within {limit / 1e6:,.0f} MB: " if limit is not None else ""
    if limit is not None and smallest > limit:
        print(f"{within}nothing fits: a smaller --max-tokens helps")
    else:
        print(f"{within}{name_of(choice.weights)} would be loaded ({choice.why})")


def _choice(repo: Repo, reference: hub.Reference, wish: find.Wish, cache_dir: Path | None) -> Choice:
    """Choose as Embedder would, by what was measured here before or by what is known of such machines."""
    cache, threads = cache_folder(cache_dir), this_device().threads
    known = partial(speeds, repo, threads=threads, cache=cache, workload=wish.workload, measure=False)
    return choose(
        repo,
        level=reference.level,
        max_memory=wish.max_memory,
        max_tokens=wish.max_tokens,
        workload=wish.workload,
        rank=known,
    )


def _doctor(args: argparse.Namespace) -> None:
    """Print one paragraph, or JSON for a ticket; of a model, what would be chosen and why."""
    diagnosis = diagnose()
    chosen = None
    if args.model:
        reference, wish = (
            hub.parse(args.model),
            find.Wish(workload=args.workload, max_memory=this_device().memory_limit),
        )
        with find.look(reference, args.cache_dir, wish=wish) as repo:
            choice = _choice(repo, reference, wish, args.cache_dir)
        origin = find.why_there(reference, wish, repo.folder)
        chosen = f"{choice.weights.format}:{choice.weights.level} ({choice.why}){origin}"
    if args.json:
        print(json.dumps(diagnosis.to_json() | {"model": args.model, "choice": chosen}, indent=2))
        return
    told = f" Of {args.model}, {chosen} would be loaded." if chosen else ""
    print(textwrap.fill(diagnosis.paragraph() + told, 100, break_long_words=False, break_on_hyphens=False))


def _compat(args: argparse.Namespace) -> None:
    """Print the answer; a text or a JSON object."""
    from .compat import compare
    from .embedder import Embedder

    texts = _lines(args.texts) if args.texts else passages()
    with Embedder(args.a, task=args.task) as a, Embedder(args.b, task=args.task) as b:
        found = compare(a, b, texts)
    print(json.dumps(found.to_json(), indent=2) if args.json else found.sentence())


def _lines(path: Path) -> list[str]:
    try:
        return [line for line in path.read_text("utf-8").splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"cannot read texts from {path}: {error}") from error


def _local(cached: Cached) -> Local:
    revisions = ", ".join(cached.revisions) or cached.snapshot.commit[:12]
    return Local(cached.snapshot.repo, revisions, cached.size, cached.snapshot.folder)


def _converted(cache_dir: Path | None) -> list[tuple[Path, ModelSpec, int]]:
    """List the finished conversions in the cache: folder, spec, bytes."""
    found = []
    for path in sorted((cache_folder(cache_dir) / "converted").glob(f"*/[!.]*/{FILE_NAME}")):
        size = sum(file.stat().st_size for file in path.parent.rglob("*") if file.is_file())
        found.append((path.parent, ModelSpec.read(path), size))
    return found
