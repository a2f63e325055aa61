"""edge_embed, Llama.embed and llama-server on the same GGUF file, the same threads and the same texts, taking turns.

    python benchmarks/gguf_speed.py nano-Q8_0.gguf nano-Q4_K_M.gguf --server PATH/llama-server
    python benchmarks/gguf_speed.py nano-Q8_0.gguf --query       one query over a bare llama_decode, memory, load time

Texts in, vectors out, tokenisation included; medians over the rounds after one that warms up. gguf_model.py makes files
at the real shapes. A table, then JSON.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from corpus import texts

from edge_embed.device.machine import usable_cpus

WORKER = Path(__file__).with_name("gguf_engines.py")


class Worker:
    """One engine's process."""

    def __init__(self, *words: str) -> None:
        command = [sys.executable, str(WORKER), *words]
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True
        )
        self.seconds: list[float] = []
        self.peak = 0.0
        self.answer()

    def answer(self) -> Any:
        """Read one line."""
        assert self.process.stdout is not None
        return json.loads(self.process.stdout.readline())

    def run(self, inputs: list[str], save: Path | None) -> float:
        """Embed and return the seconds."""
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps({"texts": inputs, "save": str(save) if save else None}) + "\n")
        self.process.stdin.flush()
        answer = self.answer()
        self.peak = answer["peak"]
        return float(answer["seconds"])

    def close(self) -> None:
        """End the process and those that it started."""
        subprocess.run(["kill", "--", f"-{self.process.pid}"], check=False)
        self.process.wait()


def compare(path: Path, args: argparse.Namespace) -> dict[str, Any]:
    """Measure the engines on one file."""
    threads = str(args.threads)
    engines = {"edge_embed": ["edge"], "Llama.embed": ["llama"]}
    workers = {name: Worker(*words, str(path), threads) for name, words in engines.items()}
    if args.server:
        workers["llama-server"] = Worker("server", str(path), threads, args.server)
    inputs = texts(args.texts, longest=args.longest)
    with tempfile.TemporaryDirectory() as scratch:
        for name, worker in workers.items():
            worker.run(inputs[: max(8, len(inputs) // 8)], Path(scratch) / f"{name}.npy")
        vectors = {name: np.load(Path(scratch) / f"{name}.npy") for name in workers}
    for _ in range(args.rounds):
        for worker in workers.values():
            worker.seconds.append(worker.run(inputs, None))
    for worker in workers.values():
        worker.close()
    ours = vectors["edge_embed"]
    return {
        name: {
            "texts_s": len(inputs) / statistics.median(worker.seconds),
            "seconds": worker.seconds,
            "peak_mb": worker.peak,
            "least_cosine": float((vectors[name] * ours).sum(axis=1).min()),
        }
        for name, worker in workers.items()
    }


def main() -> None:
    """Measure, print."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("models", nargs="+", type=Path)
    parser.add_argument("--server", help="llama-server, built from the pinned package's own sources")
    parser.add_argument("--texts", type=int, default=500)
    parser.add_argument("--longest", type=int, default=1500, help="characters of the longest text")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=usable_cpus())
    parser.add_argument("--query", action="store_true")
    args = parser.parse_args()
    if args.query:
        for path in args.models:
            command = [sys.executable, str(WORKER), "query", str(path), str(args.threads)]
            print(path.stem, subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip())
        return
    results = {}
    print("| file | engine | texts/s | ratio to edge_embed | least cosine to edge_embed |\n|---|---|---|---|---|")
    for path in args.models:
        results[path.stem] = compare(path, args)
        for name, one in results[path.stem].items():
            ratio = one["texts_s"] / results[path.stem]["edge_embed"]["texts_s"]
            print(
                f"| {path.stem} | {name} | {one['texts_s']:.1f} | {ratio:.2f} | {one['least_cosine']:.5f} |", flush=True
            )
    print(json.dumps(results))


if __name__ == "__main__":
    main()
