"""Which weights and which backend fit this machine, and why."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache, partial

from edge_embed.backends.facts import by_preference, check, facts, running
from edge_embed.errors import InputError, QualityWarning, listing, warn
from edge_embed.layouts.folder import ModelFolder
from edge_embed.layouts.onnx import in_standard_operators
from edge_embed.spec.weights import REPOSITORY_SUFFIXES, Format, Level, Weights, highest_precision

from .choice import FOR, Choice, Constraints
from .converted import checkpoint_as_it_is, converted, faster_converted, quickest
from .memory import CONVERTED, MIN_BATCH_TOKENS, memory_plan
from .speed import Candidate, Ranking, Workload, estimate, estimated_speed, rank

BATCH_TOKENS = 1024  # int8 all-MiniLM-L6-v2 lost a tenth at 2048, a quarter at 8192; speed.texts --batch-tokens
Rank = Callable[[Sequence[Candidate]], Ranking]


def choose(model: ModelFolder, constraints: Constraints, ranking: Rank | None = None) -> Choice:
    """Pick weights of a model's folder: as named, else the fastest here that keep quality and fit the memory.

    `ranking` says how fast candidates are for the workload; None: measured where that is possible and wanted. A level
    that one format alone has implies its backend. Raises InputError for a backend or level that the folder does not
    have, and lists those it has.
    """
    if constraints.backend != "auto":
        check(constraints.backend)
    existing = _existing(model, constraints)
    if existing and constraints.level:
        best = highest_precision([candidate.weights for candidate in existing])
        return Choice(best, next(c.backend for c in existing if c.weights == best), "named")
    if existing:
        there = _fastest(model, existing, constraints, ranking or partial(_rank, model, constraints))
        faster = faster_converted(model, there, constraints) if constraints.converting else None
        return faster or there
    choice = checkpoint_as_it_is(model, constraints) or converted(model, constraints)
    if choice is None:
        raise InputError(
            f"{model.folder} has no {constraints.level or 'weights'} for backend {constraints.backend!r}; it has "
            f"{listing(model.levels())}"
        )
    return choice


def best_format(level: Level | None = None, workload: Workload = "bulk") -> Format:
    """Return the format, of those that have the level and an engine here, whose levels are fastest on such machines."""
    found: dict[Format, float] = {}
    for name in by_preference():
        known = facts(name)
        if known.format not in REPOSITORY_SUFFIXES:  # of a kind of model, not of a level of any model
            continue
        usable = [Weights(format=known.format, level=x, files=()) for x in known.levels if level in (None, x)]
        if usable and known.installed and known.unasked:
            speed = max(estimated_speed(Candidate(weights, name), workload) for weights in usable)
            found[known.format] = max(speed, found.get(known.format, 0.0))
    return max(found, key=lambda name: found[name], default=CONVERTED)


def as_read_by(backend: str, weights: Weights, model: ModelFolder) -> Weights:
    """Return a folder's weights in the form that a backend reads."""
    return in_standard_operators(weights, model.files) if facts(backend).portable else weights


def batch_budget(model: ModelFolder, choice: Choice, max_tokens: int, max_memory: int | None) -> int:
    """Return how many tokens, padding included, one batch may hold so that the planned peak stays within the limit.

    Raises InputError when the weights and one text of `max_tokens` do not fit.
    """
    if max_memory is None:
        return BATCH_TOKENS
    budget = BATCH_TOKENS
    while (total := memory_plan(model, choice.weights, max_tokens, budget, choice.backend).total) > max_memory:
        if budget <= MIN_BATCH_TOKENS:
            raise InputError(
                f"max_memory of {max_memory >> 20:,} MB is too little: {model.spec.name} at {choice.weights.name} "
                f"needs about {-(-total >> 20):,} MB for texts of {max_tokens} tokens; give more, a smaller "
                "max_tokens, or a smaller level"
            )
        budget //= 2
    return budget


def _existing(model: ModelFolder, constraints: Constraints) -> list[Candidate]:
    """List the folder's weights of the named level with each backend that runs them: the named one, or all here.

    Where none is here, one that is not stands for the format, so that the message tells how to install it.
    """
    found = []
    for weights in model.spec.weights:
        if weights.part == "text" and constraints.level in (None, weights.level):
            backends = running(weights.format)
            unasked = [backend for backend in backends if facts(backend).unasked]
            here = [backend for backend in unasked if facts(backend).installed] or unasked[:1]
            wanted = here if constraints.backend == "auto" else {constraints.backend}.intersection(backends)
            found += [Candidate(as_read_by(backend, weights, model), backend) for backend in wanted]
    return found


def _fastest(model: ModelFolder, existing: list[Candidate], constraints: Constraints, ranking: Rank) -> Choice:
    """Choose among weights of several levels or formats, passing over engines that are not installed."""
    usable = [c for c in existing if c.backend == constraints.backend or facts(c.backend).installed] or existing
    good = [c for c in usable if facts(c.backend).allowed_unasked(c.weights)] or usable
    if constraints.memory_limit is not None:
        good = _within_memory(model, good, usable, constraints, constraints.memory_limit)
    missing = sorted({c.backend for c in existing if c not in usable})
    rest = "".join(f"; no {name}, {facts(name).module} is not installed" for name in missing)
    if len(good) == 1:
        why = "the only one" if len(usable) == 1 else f"of {listing(model.levels())}"
        return Choice(good[0].weights, good[0].backend, why + rest)
    found = ranking(good)
    how = "measured here" if found.measured else "by what such machines gave"
    best = quickest(good, found)
    names = listing(candidate.name for candidate in good)
    return Choice(best.weights, best.backend, f"the fastest {FOR[constraints.workload]} of {names}, {how}{rest}")


def _within_memory(
    model: ModelFolder, good: list[Candidate], usable: list[Candidate], constraints: Constraints, limit: int
) -> list[Candidate]:
    """Keep what fits the memory; below the quality floor only if nothing else fits, and then with a warning.

    The headers of files on a hub are read only where they are large enough to matter and nothing good is here.
    """

    @cache
    def peak(candidate: Candidate) -> int:
        tokens, backend = constraints.max_tokens, candidate.backend
        return memory_plan(model, candidate.weights, tokens, MIN_BATCH_TOKENS, backend).total

    here = [c for c in usable if _is_here(model, c)]
    small = [c for c in usable if c not in here and 2 * _size(model, c) <= limit]
    fits = small + [c for c in here if peak(c) <= limit]
    if not any(c in good for c in fits):
        fits += [c for c in usable if c not in here and c not in small and peak(c) <= limit]
    if fitting := [c for c in good if c in fits]:
        return fitting
    if not fits:
        return [min(usable, key=peak)]
    best = highest_precision([c.weights for c in fits])
    warn(_loss(best, limit), QualityWarning)
    return [c for c in fits if c.weights == best]


def _size(model: ModelFolder, candidate: Candidate) -> int:
    return sum(model.files.sizes.get(name) or 0 for name in model.files_of(candidate.weights))


def _is_here(model: ModelFolder, candidate: Candidate) -> bool:
    return all(model.files.has(name) for name in model.files_of(candidate.weights))


def _rank(model: ModelFolder, constraints: Constraints, candidates: Sequence[Candidate]) -> Ranking:
    """Measure candidates that lie close, or estimate them where that cannot be done: their files are yet to come."""
    if constraints.cache_folder is None or not all(_is_here(model, candidate) for candidate in candidates):
        return estimate(candidates, constraints.workload)
    return rank(
        model,
        candidates,
        constraints.threads,
        constraints.cache_folder,
        constraints.workload,
        measure=constraints.measure,
    )


def _loss(weights: Weights, limit: int) -> str:
    known = weights.fidelity
    lost = f", whose vectors have a cosine of {min(known.cosines):.3f} to float32 at least" if known else ""
    return f"within {limit >> 20:,} MB only {weights.name} fits{lost}; give more memory for better vectors"
