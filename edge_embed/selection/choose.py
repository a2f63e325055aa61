"""Which weights, how many threads and how large a batch fit this machine, and why."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

from edge_embed.backends import check
from edge_embed.device.machine import this_device
from edge_embed.errors import InputError, QualityWarning, listing, warn
from edge_embed.layouts.folder import Repo
from edge_embed.layouts.mlx import checkpoint_as_is
from edge_embed.spec.weights import LEVELS, Weights, image_part, most_exact

from .memory import plans
from .speed import Speeds, Workload, judged, name_of

BATCH_TOKENS = 1024  # int8 all-MiniLM-L6-v2 lost a tenth at 2048, a quarter at 8192; benchmarks/speed.py --batch-tokens
LEAST_TOKENS = 16  # a batch that a budget may shrink to
MODULES = {"onnx": "onnxruntime", "gguf": "llama_cpp", "mlx": "mlx"}
# The levels that a checkpoint may be converted to without being asked; the fastest here of its format is made.
CONVERTED = {"onnx": ("float32", "int8"), "gguf": ("Q8_0",), "mlx": ("float32",)}
FLOOR = {"onnx": "int4", "mlx": "4bit", "gguf": "Q4_0"}  # the coarsest level that is chosen without being asked for
TIE = 0.95  # of the best speed; among levels that are as fast as that the most exact is taken
FOR: dict[str, str] = {"bulk": "in bulk", "single": "for single texts"}
Rank = Callable[[Sequence[Weights]], tuple[Speeds, bool]]


@dataclass(frozen=True)
class Choice:
    """What will be loaded: weights (their `files` empty: to be converted first), and one line that says why."""

    weights: Weights
    why: str

    @property
    def ready(self) -> bool:
        """Whether the files exist already."""
        return bool(self.weights.files)


def judge(candidates: Sequence[Weights], workload: Workload = "bulk") -> tuple[Speeds, bool]:
    """Rank without measuring."""
    return {name_of(one): judged(one, workload) for one in candidates}, False


def choose(
    repo: Repo,
    backend: str = "auto",
    level: str | None = None,
    *,
    max_memory: int | None = None,
    max_tokens: int | None = None,
    workload: Workload = "bulk",
    rank: Rank | None = None,
) -> Choice:
    """Pick the weights of a model's folder: as named, else the fastest here that keep quality and fit the memory.

    `rank` says how fast candidates are for the workload; None: `judge`. A level that one format alone has implies its
    backend. Raises InputError for a backend or level that the folder does not have, and lists those it has.
    """
    if backend != "auto":
        check(backend)
    texts = [weights for weights in repo.spec.weights if weights.part == "text"]
    fits = [w for w in texts if backend in ("auto", w.format) and level in (None, w.level)]
    if fits and level:
        return Choice(most_exact(fits), "named")
    if fits:
        usable = [w for w in fits if backend == w.format or installed(w.format)] or fits
        choice = _fastest(repo, usable, max_memory, max_tokens, workload, rank or partial(judge, workload=workload))
        left = sorted({w.format for w in fits if w not in usable})
        return replace(choice, why=choice.why + "".join(f"; no {one}, {MODULES[one]} is not installed" for one in left))
    if backend == "mlx" and repo.checkpoint is not None:
        stored = checkpoint_as_is(repo.checkpoint)
        if level in (None, stored.level):
            return Choice(stored, "the checkpoint itself")
    formats = [name for name in ("onnx", "gguf", "mlx") if backend in ("auto", name)]
    target = next((name for name in formats if level is None or level in LEVELS[name]), None)
    if repo.checkpoint is not None and target is not None:
        levels = [level] if level else CONVERTED[target]
        options = [Weights(format=target, level=one, files=()) for one in levels]
        if max_memory is not None and level is None:
            options = _roomy(repo, options, max_memory, max_tokens)
        return Choice(_quickest(options, judge(options, workload)[0]), f"converted from {repo.checkpoint.name}")
    raise InputError(
        f"{repo.folder} has no {level or 'weights'} for backend {backend!r}; it has {listing(repo.levels())}"
    )


def pick(candidates: Sequence[Weights], workload: Workload = "bulk") -> Weights:
    """Return which of a repository's weights to fetch: the fastest by what is known of such machines."""
    usable = [one for one in candidates if installed(one.format)] or [*candidates]
    good = [one for one in usable if keeps_quality(one)] or usable
    return _quickest(good, judge(good, workload)[0])


def installed(backend: str) -> bool:
    """Whether a backend's engine can be imported."""
    return importlib.util.find_spec(MODULES[backend]) is not None


def best_format(level: str | None = None, workload: Workload = "bulk") -> str:
    """Return the format, of those that have the level and an engine here, whose levels are fastest on such machines."""
    found = {}
    for name, levels in LEVELS.items():
        usable = [one for one in levels[: levels.index(FLOOR[name]) + 1] if level in (None, one)]
        if usable and installed(name):
            found[name] = max(judged(Weights(format=name, level=one, files=()), workload) for one in usable)
    return max(found, key=lambda name: found[name], default="onnx")


def keeps_quality(weights: Weights) -> bool:
    """Whether weights may be chosen unasked: no coarser than 4 bits, and of ours if their activations are quantised.

    Other people's int8 graphs have one activation scale for a batch, so that a vector depends on its company.
    """
    levels = LEVELS[weights.format]
    foreign = weights.format == "onnx" and weights.level in ("int8", "int4") and weights.fidelity is None
    return levels.index(weights.level) <= levels.index(FLOOR[weights.format]) and not foreign


def _fastest(
    repo: Repo,
    fits: Sequence[Weights],
    max_memory: int | None,
    max_tokens: int | None,
    workload: Workload,
    rank: Rank,
) -> Choice:
    """Choose among weights that are there; below the floor only if nothing else fits, and then with a warning."""
    good = [one for one in fits if keeps_quality(one)] or [*fits]
    if max_memory is not None:
        sizes = {name_of(one): peak(repo, one, max_tokens, LEAST_TOKENS) for one in fits}
        roomy = [one for one in good if sizes[name_of(one)] <= max_memory]
        if not roomy and (small := [one for one in fits if sizes[name_of(one)] <= max_memory]):
            roomy = [most_exact(small)]
            warn(_loss(roomy[0], max_memory), QualityWarning)
        good = roomy or [min(fits, key=lambda one: sizes[name_of(one)])]
    if len(good) == 1:
        return Choice(good[0], "the only one" if len(fits) == 1 else f"of {listing(repo.levels())}")
    found, measured = rank(good)
    how = "measured here" if measured else "by what such machines gave"
    return Choice(_quickest(good, found), f"the fastest {FOR[workload]} of {listing(map(name_of, good))}, {how}")


def _quickest(candidates: Sequence[Weights], found: Speeds) -> Weights:
    """Return the most exact of those that are nearly as fast as the fastest."""
    fastest = max(found.get(name_of(one), 0.0) for one in candidates)
    return most_exact([one for one in candidates if found.get(name_of(one), 0.0) >= TIE * fastest])


def _roomy(repo: Repo, options: list[Weights], max_memory: int, max_tokens: int | None) -> list[Weights]:
    """Keep the conversions that fit the memory; where none does, the one ONNX level that takes the least."""
    if options[0].format != "onnx":
        return options  # what the others will take is known when they are made
    bare = replace(repo, spec=replace(repo.spec, weights=()))
    sizes = {plan.candidate: plan.total for plan in plans(bare, max_tokens, LEAST_TOKENS)}
    least = min(sizes, key=lambda name: sizes[name]).partition(":")[2]
    roomy = [one for one in options if sizes[name_of(one)] <= max_memory]
    return roomy or [Weights(format="onnx", level=least, files=())]


def _loss(weights: Weights, max_memory: int) -> str:
    known = weights.fidelity
    lost = f", whose vectors have a cosine of {min(known.cosines):.3f} to float32 at least" if known else ""
    return f"within {max_memory >> 20:,} MB only {name_of(weights)} fits{lost}; give more memory for better vectors"


def thread_count(threads: int | None) -> int:
    """Return the threads to use: as asked, else the fast cores, as far as the container's quota pays for them."""
    if threads is not None and threads < 1:
        raise InputError(f"threads={threads} must be at least 1")
    return threads or this_device().threads


def peak(repo: Repo, weights: Weights, max_tokens: int | None, batch_tokens: int) -> int:
    """Predict the resident peak in bytes with these weights, and the image part that goes with them."""
    part = image_part(repo.spec.weights, weights)
    both = (weights, part) if part else (weights,)
    (plan,) = plans(replace(repo, spec=replace(repo.spec, weights=both)), max_tokens, batch_tokens)
    return plan.total


def batch_budget(repo: Repo, weights: Weights, max_tokens: int, max_memory: int | None) -> int:
    """Return how many tokens, padding included, one batch may hold so that the planned peak stays within the limit.

    Raises InputError when the weights and one text of `max_tokens` do not fit.
    """
    if max_memory is None:
        return BATCH_TOKENS
    budget = BATCH_TOKENS
    while (total := peak(repo, weights, max_tokens, budget)) > max_memory:
        if budget <= LEAST_TOKENS:
            raise InputError(
                f"max_memory of {max_memory >> 20:,} MB is too little: {repo.spec.name} at {name_of(weights)} needs "
                f"about {-(-total >> 20):,} MB for texts of {max_tokens} tokens; give more, a smaller max_tokens, or a "
                "smaller level"
            )
        budget //= 2
    return budget
