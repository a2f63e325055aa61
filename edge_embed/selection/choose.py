"""Which weights and which backend fit this machine, and why."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path

from edge_embed.backends.facts import by_preference, check, facts, running
from edge_embed.errors import InputError, QualityWarning, listing, warn
from edge_embed.layouts.folder import ModelFolder
from edge_embed.layouts.mlx import checkpoint_as_mlx
from edge_embed.layouts.onnx import in_standard_operators
from edge_embed.spec.weights import LEVELS, REPOSITORY_SUFFIXES, Format, Level, Weights, highest_precision

from .memory import CONVERTED, memory_plan, memory_plans
from .speed import Candidate, Ranking, Workload, estimate, estimated_speed, rank

BATCH_TOKENS = 1024  # int8 all-MiniLM-L6-v2 lost a tenth at 2048, a quarter at 8192; speed.texts --batch-tokens
MIN_BATCH_TOKENS = 16  # a batch that a budget may shrink to
TIE = 0.95  # of the best speed; among levels that are as fast as that the one of highest precision is taken
LARGEST, LARGEST_OF_GGUF = 4, 32  # times a checkpoint's size that a conversion may take in memory, whatever its level
FOR: dict[Workload, str] = {"bulk": "in bulk", "single": "for single texts"}
Rank = Callable[[Sequence[Candidate]], Ranking]


@dataclass(frozen=True, kw_only=True)
class Constraints:
    """What decides between a folder's weights: what was named, memory in bytes, tokens of the longest text, workload.

    `threads` and `cache_folder` are for measuring, and `measure` says whether that is wanted.
    """

    backend: str = "auto"
    level: Level | None = None
    memory_limit: int | None = None
    max_tokens: int | None = None
    workload: Workload = "bulk"
    threads: int = 1
    cache_folder: Path | None = None
    measure: bool = True


@dataclass(frozen=True)
class Choice:
    """What will be loaded: weights (without files: to be converted first), by which backend, and why, in one line.

    `image` is the image part in the same files, where a checkpoint is loaded as it is.
    """

    weights: Weights
    backend: str
    why: str
    image: tuple[Weights, ...] = ()

    @property
    def name(self) -> str:
        """`format:level`, and the backend where it is not the one that the format is named by."""
        return Candidate(self.weights, self.backend).name

    @property
    def ready(self) -> bool:
        """Whether the files exist already."""
        return bool(self.weights.files)


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
        return _fastest(model, existing, constraints, ranking or partial(_rank, model, constraints))
    choice = _checkpoint_as_it_is(model, constraints) or _converted(model, constraints)
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
    best = _quickest(good, found)
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


def _quickest(candidates: Sequence[Candidate], found: Ranking) -> Candidate:
    """Return, of those that are nearly as fast as the fastest, the one of highest precision."""
    fastest = max(found.speeds.get(candidate.name, 0.0) for candidate in candidates)
    near = [candidate for candidate in candidates if found.speeds.get(candidate.name, 0.0) >= TIE * fastest]
    best = highest_precision([candidate.weights for candidate in near])
    return next(candidate for candidate in near if candidate.weights == best)


def _checkpoint_as_it_is(model: ModelFolder, constraints: Constraints) -> Choice | None:
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


def _converted(model: ModelFolder, constraints: Constraints) -> Choice | None:
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
        options = _converted_within(model, options, constraints, constraints.memory_limit)
    best = _quickest(options, estimate(options, constraints.workload))
    return Choice(best.weights, best.backend, f"converted from {model.checkpoint}")


def _converted_within(
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


def _loss(weights: Weights, limit: int) -> str:
    known = weights.fidelity
    lost = f", whose vectors have a cosine of {min(known.cosines):.3f} to float32 at least" if known else ""
    return f"within {limit >> 20:,} MB only {weights.name} fits{lost}; give more memory for better vectors"
