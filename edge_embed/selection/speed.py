"""How fast each candidate of a model is on this machine: measured once and kept, or estimated from other machines."""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from edge_embed.backends import Batch, load
from edge_embed.backends.facts import Machine, facts
from edge_embed.device.cpu import VNNI
from edge_embed.device.machine import this_device
from edge_embed.errors import CorruptModelError, EdgeEmbedError
from edge_embed.formats.json_file import read_object
from edge_embed.hub.notes import replace_text
from edge_embed.layouts.folder import ModelFolder
from edge_embed.spec.values import real
from edge_embed.spec.weights import Weights

SWITCH = "EDGE_EMBED_TUNE"  # "off": nothing is measured
CLOSE = 0.5  # candidates whose estimate is at least this share of the best are measured, the MOST best of them
MOST = 3
Workload = Literal["bulk", "single"]  # many texts at a time, or one short text after the other
CASES: dict[Workload, list[int]] = {"bulk": [64] * 8, "single": [16]}  # tokens of each text of a call
SPENT, CALLS = 0.2, 3  # seconds and calls, at least, that a candidate is measured for, twice
logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Candidate:
    """Weights, and the backend that would run them. Weights without files are to be converted first."""

    weights: Weights
    backend: str

    @property
    def name(self) -> str:
        """`format:level`, and the backend where it is not the one that the format is named by."""
        return self.weights.name + (f" on {self.backend}" if self.backend != self.weights.format else "")


@dataclass(frozen=True)
class Ranking:
    """The speed of each candidate by name, higher is faster, and whether it was measured here rather than estimated."""

    speeds: Mapping[str, float]
    measured: bool


def estimated_speed(candidate: Candidate, workload: Workload = "bulk") -> float:
    """Return how fast a candidate is on machines like this one, relative to float32 in ONNX Runtime."""
    speed = facts(candidate.backend).speed(_machine(), candidate.weights.level)
    return speed[workload == "single"]


def estimate(candidates: Sequence[Candidate], workload: Workload = "bulk") -> Ranking:
    """Rank without measuring."""
    return Ranking({one.name: estimated_speed(one, workload) for one in candidates}, False)


def rank(
    model: ModelFolder,
    candidates: Sequence[Candidate],
    threads: int,
    cache: Path,
    workload: Workload = "bulk",
    measure: bool = True,
) -> Ranking:
    """Rank candidates whose files lie in the folder, by measuring those that lie close.

    Measuring takes seconds, once for a model's shape, engines, machine, threads and workload; without `measure` only
    what was measured before counts.
    """
    estimates = estimate(candidates, workload)
    close = sorted(candidates, key=lambda one: -estimates.speeds[one.name])[:MOST]
    close = [one for one in close if estimates.speeds[one.name] >= CLOSE * max(estimates.speeds.values())]
    if len(close) < 2:
        return estimates
    return compare([(model, one) for one in close], threads, cache, workload, measure) or estimates


def compare(
    places: Sequence[tuple[ModelFolder, Candidate]],
    threads: int,
    cache: Path,
    workload: Workload = "bulk",
    measure: bool = True,
) -> Ranking | None:
    """Measure candidates, each in its folder, or take what was measured before; None where neither is to be had."""
    if os.environ.get(SWITCH) == "off":
        return None
    note = cache / "tuned" / f"{_key(places, threads, workload)}.json"
    known = _noted(note, [one for _, one in places])
    missing = [place for place in places if place[1].name not in known]  # all, or what failed, perhaps for the moment
    if missing and not measure:
        return None
    found = dict.fromkeys((one.name for _, one in missing), 0.0)
    for model, one in [*missing, *reversed(missing)]:  # each twice, so that what disturbs one moment decides nothing
        found[one.name] = max(found[one.name], _measure(model, one, threads, workload))
    if any(found.values()):
        _keep(note, known | {name: speed for name, speed in found.items() if speed})
    return Ranking(known | found, True)


def _noted(note: Path, candidates: Sequence[Candidate]) -> dict[str, float]:
    """Return the speeds of candidates that ran here before; a note that cannot be read is none."""
    with contextlib.suppress(CorruptModelError):
        known = read_object(note)
        speeds = {one.name: real(known, one.name, note) for one in candidates if one.name in known}
        return {name: speed for name, speed in speeds.items() if speed > 0}
    return {}


def _keep(note: Path, speeds: Mapping[str, float]) -> None:
    with contextlib.suppress(OSError):
        replace_text(note, json.dumps(speeds))


def _machine() -> Machine:
    device = this_device()
    return "apple" if device.apple else "vnni" if device.features & VNNI else "cpu"


def _measure(model: ModelFolder, candidate: Candidate, threads: int, workload: Workload) -> float:
    """Return the texts per second of the fastest call, after one that warms up; 0 for weights that fail."""
    rng = np.random.default_rng(0)
    batch = Batch([rng.integers(1, 24, n).astype(np.int32) for n in CASES[workload]])
    try:
        backend = load(candidate.backend, model.folder, model.spec, candidate.weights, threads)
        try:
            seconds = _fastest_call(lambda: backend.forward(batch))
        finally:
            backend.close()
    except EdgeEmbedError as error:
        logger.warning("%s cannot be run here: %s", candidate.name, error)
        return 0.0
    logger.info("%s, %s: %.1f ms a call", candidate.name, workload, 1e3 * seconds)
    return len(batch.ids) / seconds


def _fastest_call(call: Callable[[], object]) -> float:
    """Return the seconds of the fastest call."""
    call()
    taken: list[float] = []
    while len(taken) < CALLS or sum(taken) < SPENT:
        start = time.perf_counter()
        call()
        taken.append(time.perf_counter() - start)
    return min(taken)


def _key(places: Sequence[tuple[ModelFolder, Candidate]], threads: int, workload: Workload) -> str:
    """Name what was measured: shape and levels of the model, engines' releases, machine, threads and workload."""
    device, spec = this_device(), places[0][0].spec
    sizes = [sum(model.files.sizes.get(file.path) or 0 for file in one.weights.files) for model, one in places]
    engines = [facts(one.backend).version for _, one in places]
    shape = (spec.architecture, spec.dim, [one.name for _, one in places], sizes)
    text = repr((shape, engines, device.processor, sorted(device.features), device.cpus, threads, workload))
    return hashlib.sha256(text.encode()).hexdigest()[:24]
