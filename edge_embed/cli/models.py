"""The commands about models on this machine: pull, list, path, verify, rm."""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

from edge_embed.errors import CorruptModelError, InputError, ModelNotFoundError
from edge_embed.hub.cache import Cached, cached_models, remove, wrong_files
from edge_embed.hub.checksums import wrong_sums
from edge_embed.hub.reference import local_path
from edge_embed.hub.repository import find_cached
from edge_embed.jobs.folder import JOB
from edge_embed.layouts.folder import ModelFolder
from edge_embed.loading.conversions import conversions
from edge_embed.loading.conversions import remove as remove_conversion
from edge_embed.loading.load import files_of, find_and_choose
from edge_embed.loading.request import LoadRequest, hub_cache, load_request, own_cache
from edge_embed.loading.similar import instead
from edge_embed.selection.speed import Workload
from edge_embed.spec.model import FILE_NAME

from .jobs import verify_job
from .table import print_table

WORKLOAD = "what it is to be fast for: many texts at a time, or one short text after the other"


@dataclass(frozen=True)
class Local:
    """A model on this disk: what to call it, what of it is there, and its folder."""

    name: str
    holds: str
    size: int
    folder: Path


def configure(commands: Any, default: str) -> None:
    """Add the commands to the parser's; each wants a model to be named."""
    pull = commands.add_parser("pull", help="download a model, or what it still lacks, and print its folder")
    pull.set_defaults(run=_pull)
    path = commands.add_parser("path", help="print the folder of a model that is on this machine")
    path.set_defaults(run=_path)
    verify = commands.add_parser("verify", help="compare every file with its hash: of a model, or of a job")
    verify.set_defaults(run=_verify)
    delete = commands.add_parser("rm", help="delete a downloaded model, and what was converted from it")
    delete.set_defaults(run=_rm)
    for command in (pull, path, verify, delete):
        command.add_argument(
            "model", metavar="MODEL", help="[hf://]user/repo[:LEVEL][@REVISION], a folder, or package:"
        )
    for command in (pull, path, verify, delete):
        command.add_argument("--json", action="store_true", help="print what was done as JSON")
    for command in (pull, path):
        command.add_argument("--workload", default="bulk", choices=get_args(Workload), help=WORKLOAD)
    show = commands.add_parser("list", help="list the models in the caches: downloaded and converted")
    show.add_argument("--json", action="store_true")
    show.set_defaults(run=_list)
    for command in (pull, path, verify, delete, show):
        command.add_argument("--cache-dir", type=Path, help="default: the hub's cache, and edge_embed's own")


def _pull(args: argparse.Namespace) -> None:
    _print_folder(args, offline=None)


def _path(args: argparse.Namespace) -> None:
    _print_folder(args, offline=True)


def _print_folder(args: argparse.Namespace, offline: bool | None) -> None:
    folder = str(_fetched(args, offline).folder)
    print(json.dumps({"model": args.model, "folder": folder}, indent=2) if args.json else folder)


def _fetched(args: argparse.Namespace, offline: bool | None) -> ModelFolder:
    request = load_request(args.model, cache_dir=args.cache_dir, workload=args.workload, offline=offline)
    with find_and_choose(request) as (found, choice):
        return found.fetch(files_of(found.model, choice))


def _verify(args: argparse.Namespace) -> None:
    """Hash what is there; end with an error that lists every file that is not as it was published, or written."""
    if (Path(args.model) / JOB).is_file():
        verify_job(Path(args.model), args.json)
        return
    request = load_request(args.model, cache_dir=args.cache_dir)
    reference = request.reference
    if reference.is_repository:
        folder = find_cached(reference.place, reference.revision, request.hub_cache)
        if folder is None:
            raise ModelNotFoundError(
                f"{reference.place} is not in the cache: edge-embed pull {args.model}{_meant(request)}"
            )
        count, wrong = sum(not path.is_dir() for path in folder.rglob("*")), wrong_files(folder)
    else:
        path = local_path(reference)
        folder = path if path.is_dir() else path.parent
        count, wrong = wrong_sums(folder)
        if not count:
            raise InputError(f"{folder} names no hashes, neither in {FILE_NAME} nor in SHA256SUMS: nothing to compare")
    if wrong:
        remedy = "edge-embed rm, then pull" if reference.is_repository else "copy or convert it again"
        lines = "\n  ".join(wrong)
        raise CorruptModelError(f"{len(wrong)} of {count} files in {folder} are wrong ({remedy}):\n  {lines}")
    told = f"{count} files in {folder} are as published"
    print(json.dumps({"folder": str(folder), "files": count, "wrong": []}, indent=2) if args.json else told)


def _meant(request: LoadRequest) -> str:
    return instead(request.reference, request.hub_cache, request.own_cache)


def _rm(args: argparse.Namespace) -> None:
    request = load_request(args.model, cache_dir=args.cache_dir)
    reference = request.reference
    if reference.level is not None:
        raise InputError(f"{args.model!r}: a level cannot be removed alone; leave :{reference.level} out")
    converted = [
        one for one in conversions(request.own_cache) if one.is_of(reference.place, reference.path, reference.revision)
    ]
    downloaded = [
        one
        for one in (cached_models(request.hub_cache) if reference.is_repository else ())
        if one.snapshot.repo == reference.place and reference.revision in (None, one.snapshot.commit, *one.revisions)
    ]
    if not converted and not downloaded:
        raise ModelNotFoundError(
            f"{args.model} is in no cache, so there is nothing to remove; see edge-embed list{_meant(request)}"
        )
    for one in converted:
        remove_conversion(one)
    freed = remove(downloaded) + sum(one.size for one in converted)
    if args.json:
        print(json.dumps({"downloads": len(downloaded), "conversions": len(converted), "bytes": freed}, indent=2))
        return
    print(f"removed {len(downloaded)} downloads and {len(converted)} conversions: {freed / 1e6:,.1f} MB")


def _list(args: argparse.Namespace) -> None:
    models = [_local(cached) for cached in cached_models(hub_cache(args.cache_dir))]
    models += [Local(one.source, one.holds, one.size, one.folder) for one in conversions(own_cache(args.cache_dir))]
    if args.json:
        print(json.dumps([vars(model) | {"folder": str(model.folder)} for model in models], indent=2))
        return
    if not models:
        print("no models in the caches: edge-embed pull user/repo")
        return
    rows = [[f"{one.size / 1e6:,.1f}", one.name, one.holds, str(one.folder)] for one in models]
    print_table(["MB", "model", "holds", "folder"], rows, right={0}, colours=["dim"] * len(rows))


def _local(cached: Cached) -> Local:
    revisions = ", ".join(cached.revisions) or cached.snapshot.commit[:12]
    return Local(cached.snapshot.repo, revisions, cached.size, cached.snapshot.folder)
