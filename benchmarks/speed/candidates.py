"""Does `choose` choose as well as trying everything? Every candidate timed at a real shape, and what would be chosen.

    python -m benchmarks speed.shapes nano --keep FOLDER                makes the ONNX graphs
    python -m benchmarks models.gguf FOLDER FOLDER/nano-F16.gguf F16    makes a GGUF file, and from it other levels
    python -m benchmarks speed.candidates FOLDER [FILE.gguf ...]        this table

Candidates take turns, one process for all; medians over the rounds. `judged` is the choice by what is known of such
machines, `probed` the one by the short probe; the best is that of the candidates which keep quality. Run it under
`taskset -c 0`, or in a cgroup with a CPU quota, for smaller machines.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, get_args

import numpy as np

from benchmarks.report import Report, Table
from benchmarks.timing import Seconds, alternate, median, timed
from edge_embed.backends import Batch, load
from edge_embed.backends.facts import facts, running
from edge_embed.device.machine import this_device
from edge_embed.layouts.folder import ModelFolder
from edge_embed.layouts.listing import Listing
from edge_embed.layouts.onnx import find_onnx
from edge_embed.pipeline.batches import make_batches
from edge_embed.selection.choice import Constraints
from edge_embed.selection.choose import BATCH_TOKENS, choose
from edge_embed.selection.speed import Candidate, Workload, estimate
from edge_embed.spec.golden import Fidelity
from edge_embed.spec.model import ModelSpec
from edge_embed.spec.weights import File, Weights

BULK = [12, 18, 25, 33, 47, 64, 90, 130, 180, 250, 20, 35, 64, 64, 100, 150]
CASES = {"single": [16], "bulk": BULK}  # tokens of each text
REPEATS = {"single": 5, "bulk": 1}  # the fastest of so many counts
OURS = Fidelity(cosines=(), batch_deviation=1.0)  # made by our converter, so that they may be chosen
Rows = Mapping[str, Mapping[str, Seconds]]


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("folder", type=Path, help="a checkpoint with our ONNX graphs")
    parser.add_argument("gguf", type=Path, nargs="*", help="the same weights as GGUF files, called NAME-LEVEL.gguf")
    parser.add_argument("--rounds", type=int, default=5, help="how often each candidate is measured")


def run(args: argparse.Namespace) -> Report:
    """Measure every candidate, then look at what is chosen."""
    model, threads = model_of(args.folder, args.gguf), this_device().threads
    candidates = [Candidate(w, running(w.format)[0]) for w in model.spec.weights if w.part == "text"]
    rows = measure(model, candidates, threads, args.rounds)
    good = [c.name for c in candidates if facts(c.backend).allowed_unasked(c.weights)]
    best = {case: min(rows[name][case].wall for name in good) for case in CASES}
    choices, shares = chosen(model, threads, rows, best)
    figures = {
        name: {case: seconds.wall for case, seconds in row.items()}
        | {f"{case}_cpu": seconds.cpu for case, seconds in row.items()}
        for name, row in rows.items()
    }
    about = {"shape": args.folder.name, "threads": threads}
    return Report([compare(rows, best), *choices], {**about, "candidates": figures, "of_the_best": shares})


def model_of(folder: Path, gguf: list[Path]) -> ModelFolder:
    """Describe the folder's graphs and the GGUF files, wherever they lie, as one model's weights."""
    config = json.loads((folder / "config.json").read_text())
    paths = [path.resolve() for path in gguf]
    files = Listing.of(folder.resolve())
    files = replace(files, sizes={**files.sizes, **{str(path): path.stat().st_size for path in paths}})
    weights = [replace(found, fidelity=OURS) for found in find_onnx(files)]
    for path in paths:
        level = path.stem.split("-")[-1]
        weights.append(Weights(format="gguf", level=level, files=(File(path=str(path)),), fidelity=OURS))
    causal = config["model_type"] == "qwen3"
    spec = ModelSpec(
        name=folder.name,
        architecture=config["model_type"],
        dim=config["hidden_size"],
        max_tokens=8192,
        pooling="last",
        normalize=True,
        attention="causal" if causal else "full",
        weights=tuple(weights),
    )
    return ModelFolder(files, spec)


def measure(
    model: ModelFolder, candidates: Sequence[Candidate], threads: int, rounds: int
) -> dict[str, dict[str, Seconds]]:
    """Let the candidates take turns -> the median of each at each case; the first round warms up."""
    backends = {c.name: load(c.backend, model.folder, model.spec, c.weights, threads) for c in candidates}
    calls = {
        (name, case): partial(fastest, backend, lengths, REPEATS[case])
        for name, backend in backends.items()
        for case, lengths in CASES.items()
    }
    results = alternate(calls, rounds)
    for backend in backends.values():
        backend.close()
    return {name: {case: median(results[name, case]) for case in CASES} for name in backends}


def fastest(backend: Any, lengths: list[int], repeats: int) -> Seconds:
    """Embed texts of random ids, batched as the pipeline does -> the time of the fastest repeat."""
    rng = np.random.default_rng(0)
    ids = [rng.integers(4, 16000, length).astype(np.int32) for length in lengths]

    def embed() -> None:
        for batch in make_batches(lengths, BATCH_TOKENS):
            backend.forward(Batch([ids[n] for n in batch]))

    return min((timed(embed)[1] for _ in range(repeats)), key=lambda seconds: seconds.wall)


def compare(rows: Rows, best: Mapping[str, float]) -> Table:
    """Tell every candidate's speed, the fastest in bulk first."""
    table = Table(
        "candidate", "one text of 16, ms", "CPU ms", "texts/s in bulk", "CPU s", "of the best: single", "bulk"
    )
    for name, row in sorted(rows.items(), key=lambda item: item[1]["bulk"].wall):
        single, bulk = row["single"], row["bulk"]
        shares = [f"{best[case] / row[case].wall:.2f}" for case in CASES]
        speeds = f"{1e3 * single.wall:.1f}", f"{1e3 * single.cpu:.1f}", f"{len(BULK) / bulk.wall:.1f}"
        table.add(name, *speeds, f"{bulk.cpu:.2f}", *shares)
    return table


def chosen(
    model: ModelFolder, threads: int, rows: Rows, best: Mapping[str, float]
) -> tuple[list[str], dict[str, float]]:
    """Choose in both ways for every workload -> what was chosen in words, and how fast it is beside the best."""
    words, shares = [], {}
    for workload in get_args(Workload):
        with tempfile.TemporaryDirectory() as cache:
            constraints = Constraints(workload=workload, threads=threads, cache_folder=Path(cache))
            for how, ranking in (("judged", partial(estimate, workload=workload)), ("probed", None)):
                choice = choose(model, constraints, ranking)
                name = Candidate(choice.weights, choice.backend).name
                share = shares[f"{workload}, {how}"] = best[workload] / rows[name][workload].wall
                words.append(f"{workload}, {how}: {name}, {share:.2f} of the best ({choice.why})")
    return words, shares
