"""How fast each of a model's candidates is on this machine: measured once and kept, or judged from other machines."""

from __future__ import annotations

import contextlib
import hashlib
import importlib.metadata
import json
import logging
import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from .backends import Batch, load
from .device import this_device
from .errors import EdgeEmbedError
from .repo import Repo
from .spec import Weights

SWITCH = "EDGE_EMBED_TUNE"  # "off": nothing is measured
CLOSE = 0.5  # candidates whose judged speed is at least this share of the best are measured, the three best of them
MOST = 3
PACKAGES = {"onnx": "onnxruntime", "gguf": "llama-cpp-python", "mlx": "mlx"}
SINGLE, BULK = [16], [64] * 8  # tokens of a query, and of a batch
# Texts per second in bulk relative to onnx:float32, in v5-nano's shape. Of `vnni` ONNX, Q8_0, Q4_K_M and IQ4_NL were
# measured (benchmarks/candidates.py); the rest is what is known of such machines, and measured where two lie close.
JUDGED = {
    "vnni": {
        "onnx": {"float32": 1.0, "float16": 1.0, "int8": 2.5, "int4": 1.0},
        "gguf": {"F16": 0.8, "BF16": 0.8, "Q8_0": 0.6, "Q6_K": 0.4, "Q4_K_M": 0.9, "IQ4_NL": 1.0, "Q4_0": 1.0},
        "mlx": {"float32": 0.3, "bfloat16": 0.3},
    },
    "cpu": {
        "onnx": {"float32": 1.0, "float16": 1.0, "int8": 1.5, "int4": 1.0},
        "gguf": {"F16": 0.8, "BF16": 0.5, "Q8_0": 0.9, "Q6_K": 0.5, "Q4_K_M": 0.9, "IQ4_NL": 1.1, "Q4_0": 1.2},
        "mlx": {"float32": 0.3, "bfloat16": 0.3},
    },
    "apple": {
        "onnx": {"float32": 1.0, "float16": 1.0, "int8": 1.5, "int4": 1.0},
        "gguf": {"F16": 3.0, "BF16": 3.0, "Q8_0": 3.0, "Q6_K": 2.5, "Q4_K_M": 2.5, "IQ4_NL": 2.5, "Q4_0": 3.0},
        "mlx": {"float32": 2.0, "bfloat16": 4.0, "float16": 4.0, "8bit": 4.0, "4bit": 4.0},
    },
}
UNKNOWN = 0.4
logger = logging.getLogger(__name__)
Speeds = Mapping[str, float]


def name_of(weights: Weights) -> str:
    """Return `format:level`."""
    return f"{weights.format}:{weights.level}"


def judged(weights: Weights) -> float:
    """Return how fast weights of this kind are on machines like this one, relative to float32 in ONNX Runtime."""
    device = this_device()
    apple = device.system == "Darwin" and device.machine == "arm64"
    kind = "apple" if apple else "vnni" if device.features & {"avx512_vnni", "avx_vnni"} else "cpu"
    return JUDGED[kind][weights.format].get(weights.level, UNKNOWN)


def speeds(repo: Repo, candidates: Sequence[Weights], threads: int, cache: Path) -> tuple[Speeds, bool]:
    """Return each candidate's speed, higher is faster, and whether it was measured rather than judged.

    Measuring takes seconds, once for a model's shape, engines, machine and threads, and only if candidates lie close.
    """
    guess = {name_of(one): judged(one) for one in candidates}
    close = sorted(candidates, key=lambda one: -guess[name_of(one)])[:MOST]
    close = [one for one in close if guess[name_of(one)] >= CLOSE * max(guess.values())]
    if os.environ.get(SWITCH) == "off" or len(close) < 2:
        return guess, False
    note = cache / "tuned" / f"{_key(repo, close, threads)}.json"
    with contextlib.suppress(OSError, ValueError):
        return json.loads(note.read_text("utf-8")), True
    found = {name_of(one): _measure(repo, one, threads) for one in close}
    with contextlib.suppress(OSError):
        note.parent.mkdir(parents=True, exist_ok=True)
        partial = note.with_suffix(f".{os.getpid()}")
        partial.write_text(json.dumps(found), "utf-8")
        partial.replace(note)
    return found, True


def _measure(repo: Repo, weights: Weights, threads: int) -> float:
    """Return the geometric mean of texts per second alone and in a batch; 0 for weights that fail."""
    rng = np.random.default_rng(0)
    cases = [Batch([rng.integers(1, 24, n).astype(np.int32) for n in lengths]) for lengths in (SINGLE, BULK)]
    try:
        backend = load(weights.format, repo.folder, repo.spec, weights, threads)
        try:
            single, bulk = (_seconds(lambda case=case: backend.forward(case), len(case.ids)) for case in cases)
        finally:
            backend.close()
    except EdgeEmbedError as error:
        logger.warning("%s cannot be run here: %s", name_of(weights), error)
        return 0.0
    logger.info("%s: %.1f ms a query, %.0f texts/s", name_of(weights), 1e3 * single, 1 / bulk)
    return float((single * bulk) ** -0.5)


def _seconds(call: object, texts: int) -> float:
    """Return the least seconds for a text over a few calls, after one that warms up."""
    assert callable(call)
    call()
    taken = []
    for _ in range(5):
        start = time.perf_counter()
        call()
        taken.append(time.perf_counter() - start)
    return min(taken) / texts


def _key(repo: Repo, candidates: Sequence[Weights], threads: int) -> str:
    """Name what was measured: shape and levels of the model, engines' releases, machine and threads."""
    device = this_device()
    sizes = [sum((repo.folder / file.path).stat().st_size for file in one.files) for one in candidates]
    engines = [importlib.metadata.version(PACKAGES[one.format]) for one in candidates]
    shape = (repo.spec.architecture, repo.spec.dim, [name_of(one) for one in candidates], sizes)
    text = repr((shape, engines, device.processor, sorted(device.features), device.cpus, threads))
    return hashlib.sha256(text.encode()).hexdigest()[:24]
