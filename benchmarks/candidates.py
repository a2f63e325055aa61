"""Does `select` choose as well as trying everything? Every candidate timed at a real shape, and what would be chosen.

    python benchmarks/shapes.py nano --keep FOLDER          makes the ONNX graphs
    python benchmarks/gguf_model.py nano FOLDER             makes the GGUF files
    python benchmarks/candidates.py FOLDER [FILE.gguf ...]  this table

Candidates take turns, one process for all; medians over the rounds. `judged` is the choice by what is known of such
machines, `probed` the one by the short probe; the best is that of the candidates which keep quality. Run it under
`taskset -c 0`, or in a cgroup with a CPU quota, for smaller machines. A table, then one JSON line.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import Any, get_args

import numpy as np

from edge_embed.backends import Batch, load
from edge_embed.device.machine import this_device
from edge_embed.layouts.folder import ModelFolder
from edge_embed.layouts.onnx import find_onnx
from edge_embed.pipeline.batches import make_batches
from edge_embed.selection import speed as tuning
from edge_embed.selection.choose import BATCH_TOKENS, choose, judge, keeps_quality
from edge_embed.spec.golden import Fidelity
from edge_embed.spec.model import ModelSpec
from edge_embed.spec.weights import File, Weights

SINGLE = [16]
BULK = [12, 18, 25, 33, 47, 64, 90, 130, 180, 250, 20, 35, 64, 64, 100, 150]
OURS = Fidelity(cosines=(), company=1.0)  # made by our converter, so that they may be chosen


def repository(folder: Path, files: list[Path]) -> ModelFolder:
    """Describe the folder's graphs and the files as one model's weights."""
    config = json.loads((folder / "config.json").read_text())
    weights = [Weights(format="onnx", level=w.level, files=w.files, fidelity=OURS) for w in find_onnx(folder)]
    for path in files:
        (file,) = [File(path=str(path.resolve()))]
        weights.append(Weights(format="gguf", level=path.stem.split("-")[-1], files=(file,), fidelity=OURS))
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
    return ModelFolder(folder, spec)


def seconds(backend: Any, lengths: list[int]) -> float:
    """Time the texts, batched as the pipeline does."""
    rng = np.random.default_rng(0)
    ids = [rng.integers(4, 16000, n).astype(np.int32) for n in lengths]
    start = time.perf_counter()
    for batch in make_batches(lengths, BATCH_TOKENS):
        backend.forward(Batch([ids[n] for n in batch]))
    return time.perf_counter() - start


def main() -> None:
    """Measure, choose, print."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("gguf", type=Path, nargs="*")
    parser.add_argument("--rounds", type=int, default=5)
    args = parser.parse_args()
    repo, threads = repository(args.folder, args.gguf), this_device().threads
    backends = {w.name: load(w.format, repo.folder, repo.spec, w, threads) for w in repo.spec.weights}
    taken: dict[str, dict[str, list[float]]] = {name: {"single": [], "bulk": []} for name in backends}
    for turn in range(args.rounds + 1):
        for name, backend in backends.items():
            for case, lengths in (("single", SINGLE), ("bulk", BULK)):
                spent = min(seconds(backend, lengths) for _ in range(5 if case == "single" else 1))
                if turn:
                    taken[name][case].append(spent)
    for backend in backends.values():
        backend.close()
    rows = {name: {case: statistics.median(values) for case, values in cases.items()} for name, cases in taken.items()}
    good = [tuning.one.name for one in repo.spec.weights if keeps_quality(one)]
    best = {case: min(rows[name][case] for name in good) for case in ("single", "bulk")}
    print("| candidate | one text of 16, ms | texts/s in bulk | of the best: single | bulk |\n|---|---|---|---|---|")
    for name, row in sorted(rows.items(), key=lambda item: item[1]["bulk"]):
        single, bulk = 1e3 * row["single"], len(BULK) / row["bulk"]
        shares = [f"{best[case] / row[case]:.2f}" for case in ("single", "bulk")]
        print(f"| {name} | {single:.1f} | {bulk:.1f} | {' | '.join(shares)} |")
    chosen = {}
    for workload in get_args(tuning.Workload):
        with tempfile.TemporaryDirectory() as cache:
            probe = partial(tuning.speeds, repo, threads=threads, cache=Path(cache), workload=workload)
            for how, rank in (("judged", partial(judge, workload=workload)), ("probed", probe)):
                choice = choose(repo, workload=workload, rank=rank)
                share = best[workload] / rows[tuning.name_of(choice.weights)][workload]
                chosen[f"{workload}, {how}"] = share
                print(f"{workload}, {how}: {tuning.name_of(choice.weights)}, {share:.2f} of the best ({choice.why})")
    print(json.dumps({"shape": args.folder.name, "threads": threads, "candidates": rows, "of_the_best": chosen}))


if __name__ == "__main__":
    main()
