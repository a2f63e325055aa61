"""What a checkpoint, or a GGUF file, is to be converted to before it is run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from edge_embed.backends.facts import by_preference, facts
from edge_embed.layouts.folder import ModelFolder
from edge_embed.layouts.mlx import checkpoint_as_mlx
from edge_embed.spec.weights import LEVELS, Weights, highest_precision

from .choice import Choice, Constraints
from .memory import CONVERTED, MIN_BATCH_TOKENS, memory_plans
from .speed import Candidate, Ranking, estimate, estimated_speed

TIE = 0.95  # of the best speed; among levels that are as fast as that the one of highest precision is taken
LARGEST, LARGEST_OF_GGUF = 4, 32  # times a checkpoint's size that a conversion may take in memory, whatever its level
WORTH = 1.5  # times as fast as what is there, before a conversion is made of it unasked: it takes minutes, and room


def checkpoint_as_it_is(model: ModelFolder, constraints: Constraints) -> Choice | None:
    """Choose the checkpoint itself, where the backend that was named runs it so at the level that was named."""
    merged = model.adapter is not None or model.tasks_within
    if model.checkpoint is None or not model.original or merged or constraints.backend == "auto":
        return None
    if not facts(constraints.backend).reads_checkpoints:
        return None
    text, *image = checkpoint_as_mlx(model.files, model.checkpoint)
    if constraints.level not in (None, text.level):
        return None
    return Choice(text, constraints.backend, "the checkpoint itself", tuple(image))


def converted(model: ModelFolder, constraints: Constraints) -> Choice | None:
    """Choose what the checkpoint will be converted to: the level that was named, else the fastest that fits."""
    names = [
        name
        for name in by_preference()
        if constraints.backend in ("auto", name) and facts(name).converts and model.converts_to(facts(name).format)
    ]
    target = next((n for n in names if constraints.level is None or constraints.level in LEVELS[facts(n).format]), None)
    if model.checkpoint is None or target is None:
        return None
    format = facts(target).format
    levels = [constraints.level] if constraints.level else facts(target).converts
    options = [Candidate(Weights(format=format, level=level, files=()), target) for level in levels]
    if constraints.memory_limit is not None and constraints.level is None and format == CONVERTED:
        options = _within_memory(model, options, constraints, constraints.memory_limit)
    best = quickest(options, estimate(options, constraints.workload))
    return Choice(best.weights, best.backend, f"converted from {model.checkpoint}")


def _within_memory(
    model: ModelFolder, options: list[Candidate], constraints: Constraints, limit: int
) -> list[Candidate]:
    """Keep the conversions that fit the memory; where none does, the one level that takes the least.

    A checkpoint on a hub that is small enough fits at any level, and its header need not be read.
    """
    names, most = model.checkpoint_files, LARGEST if model.original else LARGEST_OF_GGUF
    if not all(map(model.files.has, names)) and most * sum(model.files.sizes[name] or 0 for name in names) <= limit:
        return options
    plans = memory_plans(model.with_weights(()), constraints.max_tokens, MIN_BATCH_TOKENS)
    sizes = {plan.candidate: plan.total for plan in plans}
    fitting = [option for option in options if sizes[option.weights.name] <= limit]
    smallest = min(sizes, key=lambda name: sizes[name]).partition(":")[2]
    return fitting or [replace(options[0], weights=replace(options[0].weights, level=smallest))]


def faster_converted(model: ModelFolder, choice: Choice, constraints: Constraints) -> Choice | None:
    """Choose a conversion in place of weights that the folder has, where it is faster on such machines by far."""
    found = converted(model, replace(constraints, backend=CONVERTED))
    if found is None:
        return None
    there = Candidate(choice.weights, choice.backend)
    made = estimated_speed(Candidate(found.weights, found.backend), constraints.workload)
    if made < WORTH * estimated_speed(there, constraints.workload):
        return None
    return replace(found, instead=there)


def quickest(candidates: Sequence[Candidate], found: Ranking) -> Candidate:
    """Return, of those that are nearly as fast as the fastest, the one of highest precision."""
    fastest = max(found.speeds.get(candidate.name, 0.0) for candidate in candidates)
    near = [candidate for candidate in candidates if found.speeds.get(candidate.name, 0.0) >= TIE * fastest]
    best = highest_precision([candidate.weights for candidate in near])
    return next(candidate for candidate in near if candidate.weights == best)
