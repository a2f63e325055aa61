"""Scores of a model on tasks of mteb, through our own engine: those of a leaderboard, named ones, or one's own files.

    python -m benchmarks quality.mteb MODEL --benchmark "MTEB(eng, v2)"
    python -m benchmarks quality.mteb MODEL --tasks Flickr30kT2IRetrieval Flickr30kI2TRetrieval
    python -m benchmarks quality.mteb BASE --local EVAL --search       without a network

The network brings the tasks, unless --local names a folder (quality/mteb_tasks.py). Results are kept in --out, and what
is there already is not computed again. Needs `pip install "mteb>=2.26"` beside edge_embed, and with it torch.
"""

from __future__ import annotations

import argparse
import time
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.mteb_model import EmbedderModel
from benchmarks.mteb_search import SearchModel
from benchmarks.report import Report, Table, progress

from .mteb_tasks import local_tasks

SEARCHED = ("Retrieval", "Reranking", "InstructionReranking", "InstructionRetrieval")


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    add = parser.add_argument
    add("model", help="what Embedder takes; for several types of tasks a base with its adapters")
    add("--backend", default=None, help="the engine, as Embedder takes it")
    add("--benchmark", help='tasks that a leaderboard is of, for example "MTEB(Multilingual, v2)"')
    add("--tasks", nargs="*", default=[], help="names of tasks")
    add("--languages", nargs="*", help="ISO 639-3 codes; tasks and subsets in others are left out")
    add("--local", type=Path, help="a folder with retrieval.jsonl, sts.jsonl, classification.jsonl")
    add("--dim", type=int, help="dimensions (Matryoshka)")
    add("--precision", default="float32", help="of the vectors: float32, int8, uint8, binary, ubinary")
    add("--search", action="store_true", help="score retrieval by bits and int8 codes, too")
    add("--out", type=Path, help="where results are kept (default: nowhere)")


def run(args: argparse.Namespace) -> Report:
    """Evaluate task by task."""
    options = {"backend": args.backend} if args.backend else {}
    model = EmbedderModel(args.model, dim=args.dim, precision=args.precision, **options)
    tasks = chosen(args)
    found = [result for task in tasks for result in evaluate(model, task, args)]
    table = Table("task", "type", "measure", "score", "s")
    for one in found:
        table.add(one["task"], one["type"], one["measure"], f"{one['score']:.4f}", f"{one['seconds']:.0f}")
    means = by_type([one for one in found if not one["search"]])
    summary = Table("type", "tasks", "mean")
    for kind, scores in means.items():
        summary.add(kind, str(len(scores)), f"{sum(scores) / len(scores):.4f}")
    return Report([table, summary], {"model": model.mteb_model_meta.name, "tasks": found})


def chosen(args: argparse.Namespace) -> Sequence[Any]:
    """Return the tasks that were asked for."""
    if args.local:
        return local_tasks(args.local)
    import mteb

    if args.benchmark:
        return list(mteb.get_benchmark(args.benchmark).tasks)
    if not args.tasks:
        raise SystemExit("say which tasks: --benchmark NAME, --tasks NAME..., or --local FOLDER")
    return list(mteb.get_tasks(tasks=args.tasks, languages=args.languages))


def evaluate(model: EmbedderModel, task: Any, args: argparse.Namespace) -> list[dict[str, Any]]:
    """Score one task, and where it is asked for and fits the search too."""
    import mteb

    cache = mteb.ResultCache(args.out) if args.out else None
    kind = task.metadata.type
    found = []
    for one in [model, *([SearchModel(model)] if args.search and kind in SEARCHED else [])]:
        began = time.monotonic()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # mteb's own, and of texts that are cut
            result = mteb.evaluate(one, task, cache=cache, show_progress_bar=False).task_results[0]
        row = {
            "task": task.metadata.name + (" (bits, int8)" if one is not model else ""),
            "type": kind,
            "measure": task.metadata.main_score,
            "score": float(result.get_score()),
            "seconds": time.monotonic() - began,
            "search": one is not model,
        }
        progress(*row.values())
        found.append(row)
    return found


def by_type(found: Sequence[dict[str, Any]]) -> dict[str, list[float]]:
    """Gather scores by type, then those of all; the leaderboard's two means are of tasks, and of types."""
    kinds: dict[str, list[float]] = {}
    for one in found:
        kinds.setdefault(one["type"], []).append(one["score"])
    means = [sum(scores) / len(scores) for scores in kinds.values()]
    return {**kinds, "all tasks": [one["score"] for one in found], "all types": means}
