"""Tokens per second and memory of every MLX level at the shapes of v5-text-nano and -small: README's table for a Mac.

On a Mac with Apple silicon, plugged in, other programs closed:

    python3 -m venv .venv && .venv/bin/pip install '.[convert,mlx]'
    .venv/bin/python benchmarks/apple.py nano
    .venv/bin/python benchmarks/apple.py small

A run takes a few minutes and 4 GB of memory. Please send what it prints: the table and the JSON line, which names
the chip. Weights are random, since speed does not depend on them; nothing is fetched. Token ids in, one vector out for
each text. Levels run one after the other, each in a process of its own so that peak memory is its own; the figures are
medians of --rounds. It runs on MLX's CPU build as well (`--layers 2` makes that short), where the figures mean little.
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
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import mlx.core as mx
import numpy as np
from numpy.typing import NDArray

from edge_embed.backends import Batch
from edge_embed.backends.mlx.backend import load
from edge_embed.spec.model import ModelSpec
from edge_embed.spec.weights import File, Weights

CASES = {"16": [16], "8 x 64": [64] * 8, "32 x 160": [160] * 32, "2048": [2048]}
LEVELS = ("float32", "bfloat16", "float16", "8bit", "4bit")
COMMON = {"hidden_act": "silu", "intermediate_size": 3072, "rms_norm_eps": 1e-6}
NANO = {"hidden_size": 768, "num_hidden_layers": 12, "num_attention_heads": 12, "vocab_size": 128256}
SMALL = {"hidden_size": 1024, "num_hidden_layers": 28, "num_attention_heads": 16, "num_key_value_heads": 8}
SHAPES: dict[str, dict[str, Any]] = {
    "nano": {**COMMON, **NANO, "model_type": "eurobert", "rope_theta": 1e6},
    "small": {**COMMON, **SMALL, "head_dim": 128, "vocab_size": 151936, "model_type": "qwen3", "rope_theta": 3.5e6},
}


class Random(Mapping[str, NDArray[np.float32]]):
    """Random tensors of a model's names and shapes, each made when asked for."""

    def __init__(self, config: dict[str, Any]) -> None:
        from mlx.utils import tree_flatten

        from edge_embed.backends.mlx.models import build

        parameters = dict(tree_flatten(build(config["model_type"], config).model.parameters()))
        self._shapes = {name: value.shape for name, value in parameters.items()}

    def __getitem__(self, name: str) -> NDArray[np.float32]:
        shape = self._shapes[name]
        values = np.random.default_rng(len(name)).standard_normal(shape, np.float32)
        return values * np.float32(0.02) if len(shape) > 1 else np.ones(shape, np.float32)

    def __iter__(self) -> Iterator[str]:
        return iter(self._shapes)

    def __len__(self) -> int:
        return len(self._shapes)


def spec_of(config: dict[str, Any]) -> ModelSpec:
    """Describe the model as the runtime needs it."""
    sizes = {"dim": config["hidden_size"], "max_tokens": 8192}
    return ModelSpec(name="random", architecture=config["model_type"], pooling="last", normalize=True, **sizes)


def make(config: dict[str, Any], folder: Path, level: str) -> str:
    """Write random weights at a level and return the file's name."""
    from edge_embed_convert.checkpoint.source import Source
    from edge_embed_convert.export import Export
    from edge_embed_convert.mlx.export import write

    source = Source(folder, spec_of(config), config, Random(config), ())
    (weights,) = write(Export(folder=folder, source=source, levels=[level]))
    return weights.files[0].path


def measure(folder: Path, level: str, name: str, rounds: int, cases: list[str]) -> dict[str, float]:
    """Embed every case -> tokens per second, and the peak of MLX's memory in MB."""
    config = json.loads((folder / "config.json").read_text())
    weights = Weights(format="mlx", level=level, files=(File(path=name),))
    backend = load(folder, spec_of(config), weights, 1)
    mx.reset_peak_memory()
    figures = {}
    rng = np.random.default_rng(0)
    for case in cases:
        batch = Batch([rng.integers(4, 16000, length).astype(np.int32) for length in CASES[case]])
        seconds = []
        for turn in range(rounds + 1):
            start = time.perf_counter()
            backend.forward(batch)
            if turn:  # the first of each shape warms up
                seconds.append(time.perf_counter() - start)
        figures[case] = sum(CASES[case]) / statistics.median(seconds)
    figures["MB"] = mx.get_peak_memory() / 1e6
    backend.close()
    return figures


def main() -> None:
    """Make the weights, measure each level, print."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("shape", choices=list(SHAPES))
    parser.add_argument("--levels", nargs="*", default=list(LEVELS), choices=LEVELS)
    parser.add_argument("--cases", nargs="*", default=list(CASES), choices=list(CASES))
    parser.add_argument("--layers", type=int, help="fewer layers than the model has, for a trial")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--worker", nargs=3, metavar=("FOLDER", "LEVEL", "FILE"), help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.worker:
        folder, level, name = args.worker
        print(json.dumps(measure(Path(folder), level, name, args.rounds, args.cases)))
        return
    config = SHAPES[args.shape] | ({"num_hidden_layers": args.layers} if args.layers else {})
    rows: dict[str, dict[str, float]] = {}
    for level in args.levels:
        with tempfile.TemporaryDirectory() as scratch:
            (Path(scratch) / "config.json").write_text(json.dumps(config))
            worker = ["--worker", scratch, level, make(config, Path(scratch), level), "--rounds", str(args.rounds)]
            command = [sys.executable, __file__, args.shape, *worker, "--cases", *args.cases]
            rows[level] = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    report(args.shape, config, args.cases, rows)


def report(shape: str, config: dict[str, Any], cases: list[str], rows: dict[str, dict[str, float]]) -> None:
    """Print README's table, and what machine it was."""
    device = mx.device_info() if mx.default_device() != mx.cpu else {}
    chip = device.get("device_name", platform.processor() or platform.machine())
    print(f"| {shape}, tokens/s on {chip} | {' | '.join(cases)} | peak MB |\n|---|{'---|' * (len(cases) + 1)}")
    for level, row in rows.items():
        print(f"| {level} | {' | '.join(f'{row[case]:,.0f}' for case in cases)} | {row['MB']:,.0f} |")
    about = {"device": str(mx.default_device()), "chip": chip, "system": platform.platform(), "mlx": mx.__version__}
    print(json.dumps({"shape": shape, "layers": config["num_hidden_layers"], **about, "levels": rows}))


if __name__ == "__main__":
    main()
