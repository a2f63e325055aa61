"""What is known of a model without loading it: its spec, the weights that would be taken, and what they will need."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from edge_embed.layouts.folder import ModelFolder
from edge_embed.loading.load import files_of, find_and_choose
from edge_embed.loading.request import LoadRequest, load_request
from edge_embed.selection.choose import BATCH_TOKENS, Choice
from edge_embed.selection.memory import memory_plan, memory_plans
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
        sizes = found.model.files.sizes
        return Described(
            spec=found.model.spec,
            level=choice.weights.name,
            bytes=sum(sizes.get(name) or 0 for name in files),
            created=_date(found.model.folder, files),
            peak=_peak(found.model, choice, request),
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


def _peak(model: ModelFolder, choice: Choice, request: LoadRequest) -> int:
    """Plan the memory of what was chosen; 0 where the engine's plan is made only when its files exist."""
    longest = model.spec.max_tokens
    if choice.ready:
        return memory_plan(model, choice.weights, longest, BATCH_TOKENS, choice.backend).total
    if choice.weights.format != "onnx":
        return 0
    planned = {plan.candidate: plan.total for plan in memory_plans(model.with_weights(()), longest, BATCH_TOKENS)}
    return planned.get(choice.weights.name, 0)


def _date(folder: Path, files: Sequence[str]) -> int:
    """Return when the weights were made, as the file system says; now for those that are not here yet."""
    here = [folder / name for name in files if (folder / name).is_file()]
    return int(max((path.stat().st_mtime for path in here), default=time.time()))
