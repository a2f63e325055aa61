"""What is known of a model without loading it: its spec, the weights that would be taken, and what they will need."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from edge_embed.errors import InputError
from edge_embed.layouts.folder import ModelFolder
from edge_embed.loading.load import files_of, find_and_choose
from edge_embed.loading.request import LoadRequest, load_request
from edge_embed.selection.choice import Choice
from edge_embed.selection.choose import BATCH_TOKENS, batch_budget
from edge_embed.selection.memory import CONVERTED, MIN_BATCH_TOKENS, memory_plan, memory_plans
from edge_embed.spec.model import ModelSpec

from .settings import Settings


@dataclass(frozen=True, kw_only=True)
class Described:
    """A model as its folder says; `peak` are the bytes that it is planned to take, `created` its weights' own date."""

    spec: ModelSpec
    level: str
    bytes: int
    created: int
    peak: int


def describe(reference: str, settings: Settings) -> Described:
    """Find a model and choose its weights; reads headers alone, but what a hub has is noted in its cache.

    Raises InputError or ModelError.
    """
    request = request_for(reference, settings, None)
    with find_and_choose(request) as (found, choice):
        files = files_of(found.model, choice)
        sizes, spec = found.model.files.sizes, found.model.spec
        spec = replace(spec, max_tokens=min(settings.max_tokens or spec.max_tokens, spec.max_tokens))
        return Described(
            spec=spec,
            level=choice.weights.name,
            bytes=sum(sizes.get(name) or 0 for name in files),
            created=_date(found.model.folder, files),
            peak=_peak(found.model, choice, spec.max_tokens, settings.max_memory),
        )


def request_for(reference: str, settings: Settings, task: str | None) -> LoadRequest:
    """Return what to load a model with; what spells a special token in a caller's text is read as text."""
    return load_request(
        reference,
        task=task,
        max_memory=settings.max_memory,
        workload=settings.workload,
        threads=settings.threads,
        offline=settings.offline,
        special_tokens="text",
    )


def _peak(model: ModelFolder, choice: Choice, longest: int, limit: int | None) -> int:
    """Plan the memory of what was chosen, with batches as the loader will make them; 0 where no plan is made yet.

    Raises InputError where the least that it needs is more than the limit.
    """
    if choice.ready:
        tokens = batch_budget(model, choice, longest, limit)
        return memory_plan(model, choice.weights, longest, tokens, choice.backend).total
    if choice.weights.format != CONVERTED:
        return 0
    least, most = (_converted(model, choice, longest, tokens) for tokens in (MIN_BATCH_TOKENS, BATCH_TOKENS))
    if limit is not None and least > limit:
        raise InputError(
            f"--max-memory of {limit >> 20:,} MB is too little: {model.spec.name} at {choice.weights.name} needs about "
            f"{-(-least >> 20):,} MB for texts of {longest} tokens; give more, fewer --max-tokens, or a smaller level"
        )
    return most if limit is None else min(most, limit)


def _converted(model: ModelFolder, choice: Choice, longest: int, tokens: int) -> int:
    plans = memory_plans(model.with_weights(()), longest, tokens)
    return next((plan.total for plan in plans if plan.candidate == choice.weights.name), 0)


def _date(folder: Path, files: Sequence[str]) -> int:
    """Return when the weights were made, as the file system says; now for those that are not here yet."""
    here = [folder / name for name in files if (folder / name).is_file()]
    return int(max((path.stat().st_mtime for path in here), default=time.time()))
