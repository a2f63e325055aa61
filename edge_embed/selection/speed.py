"""How fast each of a model's candidates is on this machine: measured once and kept, or judged from other machines."""

from __future__ import annotations

import contextlib
import hashlib
import importlib.metadata
import json
import logging
import os
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Literal, get_args

import numpy as np

from edge_embed.backends import Batch, load
from edge_embed.device.machine import this_device
from edge_embed.errors import EdgeEmbedError, InputError, listing
from edge_embed.layouts.folder import Repo
from edge_embed.spec.weights import Weights

SWITCH = "EDGE_EMBED_TUNE"  # "off": nothing is measured
CLOSE = 0.5  # candidates whose judged speed is at least this share of the best are measured, the three best of them
MOST = 3
PACKAGES = {"onnx": "onnxruntime", "gguf": "llama-cpp-python", "mlx": "mlx"}
CASES: dict[str, list[int]] = {"bulk": [64] * 8, "single": [16]}  # tokens of each text of a call
SPENT, CALLS = 0.2, 3  # seconds and calls, at least, that a candidate is measured for, twice
# Texts per second relative to onnx:float32, (in bulk, one alone), in v5-nano's shape. Of `vnni` ONNX, F16, Q8_0, Q4_K_M
# and IQ4_NL were measured (benchmarks/candidates.py); the rest is what is known of such machines. One text alone waits
# for the weights to come from memory, so that what is small is fast. Where two lie close they are measured.
JUDGED: dict[str, dict[str, dict[str, tuple[float, float]]]] = {
    "vnni": {
        "onnx": {"float32": (1.0, 1.0), "float16": (1.0, 1.0), "int8": (2.4, 2.2), "int4": (1.0, 1.7)},
        "gguf": {
            **{"F16": (0.7, 1.0), "BF16": (0.7, 1.0), "Q8_0": (0.6, 0.9), "Q6_K": (0.4, 0.9)},
            **{"Q4_K_M": (0.8, 1.4), "IQ4_NL": (0.9, 1.9), "Q4_0": (0.9, 1.9)},
        },
        "mlx": {"float32": (0.3, 0.3), "bfloat16": (0.3, 0.3)},
    },
    "cpu": {
        "onnx": {"float32": (1.0, 1.0), "float16": (1.0, 1.0), "int8": (1.5, 1.7), "int4": (1.0, 1.7)},
        "gguf": {
            **{"F16": (0.8, 1.0), "BF16": (0.5, 0.6), "Q8_0": (0.9, 1.4), "Q6_K": (0.5, 0.9)},
            **{"Q4_K_M": (0.9, 1.5), "IQ4_NL": (1.1, 1.8), "Q4_0": (1.2, 2.0)},
        },
        "mlx": {"float32": (0.3, 0.3), "bfloat16": (0.3, 0.3)},
    },
    "apple": {
        "onnx": {"float32": (1.0, 1.0), "float16": (1.0, 1.0), "int8": (1.5, 1.7), "int4": (1.0, 1.7)},
        "gguf": {
            **{"F16": (3.0, 2.0), "BF16": (3.0, 2.0), "Q8_0": (3.0, 2.5), "Q6_K": (2.5, 2.2)},
            **{"Q4_K_M": (2.5, 2.5), "IQ4_NL": (2.5, 2.5), "Q4_0": (3.0, 2.8)},
        },
        "mlx": {
            **{"float32": (2.0, 1.5), "bfloat16": (4.0, 2.5), "float16": (4.0, 2.5)},
            **{"8bit": (4.0, 3.0), "4bit": (4.0, 3.5)},
        },
    },
}
UNKNOWN = 0.4
logger = logging.getLogger(__name__)
Speeds = Mapping[str, float]
Workload = Literal["bulk", "single"]  # many texts at a time, or one short text after the other


def name_of(weights: Weights) -> str:
    """Return `format:level`."""
    return f"{weights.format}:{weights.level}"


def check_workload(workload: str) -> None:
    """Raise InputError for what is neither `bulk` nor `single`."""
    if workload not in get_args(Workload):
        raise InputError(f"unknown workload {workload!r}: choose from {listing(get_args(Workload))}")


def judged(weights: Weights, workload: Workload = "bulk") -> float:
    """Return how fast weights of this kind are on machines like this one, relative to float32 in ONNX Runtime."""
    device = this_device()
    kind = "apple" if device.apple else "vnni" if device.features & {"avx512_vnni", "avx_vnni"} else "cpu"
    found = JUDGED[kind][weights.format].get(weights.level, (UNKNOWN, UNKNOWN))
    return found[workload == "single"]


def speeds(
    repo: Repo,
    candidates: Sequence[Weights],
    threads: int,
    cache: Path,
    workload: Workload = "bulk",
    measure: bool = True,
) -> tuple[Speeds, bool]:
    """Return each candidate's speed, higher is faster, and whether it was measured rather than judged.

    Measuring takes seconds, once for a model's shape, engines, machine, threads and workload, and only if candidates
    lie close; without `measure` only what was measured before counts.
    """
    guess = {name_of(one): judged(one, workload) for one in candidates}
    close = sorted(candidates, key=lambda one: -guess[name_of(one)])[:MOST]
    close = [one for one in close if guess[name_of(one)] >= CLOSE * max(guess.values())]
    if os.environ.get(SWITCH) == "off" or len(close) < 2:
        return guess, False
    note = cache / "tuned" / f"{_key(repo, close, threads, workload)}.json"
    with contextlib.suppress(OSError, ValueError):
        return json.loads(note.read_text("utf-8")), True
    if not measure:
        return guess, False
    found = dict.fromkeys(map(name_of, close), 0.0)
    for one in [*close, *reversed(close)]:  # each twice, so that what disturbs one moment decides nothing
        found[name_of(one)] = max(found[name_of(one)], _measure(repo, one, threads, workload))
    with contextlib.suppress(OSError):
        note.parent.mkdir(parents=True, exist_ok=True)
        partial = note.with_suffix(f".{os.getpid()}")
        partial.write_text(json.dumps(found), "utf-8")
        partial.replace(note)
    return found, True


def _measure(repo: Repo, weights: Weights, threads: int, workload: Workload) -> float:
    """Return the texts per second of the fastest call, after one that warms up; 0 for weights that fail."""
    rng = np.random.default_rng(0)
    batch = Batch([rng.integers(1, 24, n).astype(np.int32) for n in CASES[workload]])
    try:
        backend = load(weights.format, repo.folder, repo.spec, weights, threads)
        try:
            seconds = _least_seconds(lambda: backend.forward(batch))
        finally:
            backend.close()
    except EdgeEmbedError as error:
        logger.warning("%s cannot be run here: %s", name_of(weights), error)
        return 0.0
    logger.info("%s, %s: %.1f ms a call", name_of(weights), workload, 1e3 * seconds)
    return len(batch.ids) / seconds


def _least_seconds(call: Callable[[], object]) -> float:
    call()
    taken: list[float] = []
    while len(taken) < CALLS or sum(taken) < SPENT:
        start = time.perf_counter()
        call()
        taken.append(time.perf_counter() - start)
    return min(taken)


def _key(repo: Repo, candidates: Sequence[Weights], threads: int, workload: Workload) -> str:
    """Name what was measured: shape and levels of the model, engines' releases, machine, threads and workload."""
    device = this_device()
    sizes = [sum((repo.folder / file.path).stat().st_size for file in one.files) for one in candidates]
    engines = [importlib.metadata.version(PACKAGES[one.format]) for one in candidates]
    shape = (repo.spec.architecture, repo.spec.dim, [name_of(one) for one in candidates], sizes)
    text = repr((shape, engines, device.processor, sorted(device.features), device.cpus, threads, workload))
    return hashlib.sha256(text.encode()).hexdigest()[:24]
