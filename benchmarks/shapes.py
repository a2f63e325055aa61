"""Tokens per second at the real shapes of v5-text-nano and -small, random weights, against PyTorch and others.

    python benchmarks/shapes.py nano                         edge_embed's levels against PyTorch float32 and bfloat16
    python benchmarks/shapes.py small --openvino MODEL.xml --peer-python PATH     with an OpenVINO model as well

Token ids in, one vector for each text out, so tokenisation plays no part. Engines take turns, one process each, the
largest lengths last; medians over the rounds. --dynamic adds our float32 graph quantised as sentence-transformers does
it: int8 activations with one scale for the whole batch, so that a vector depends on its neighbours. A table, then JSON.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Literal

WORKER = Path(__file__).with_name("shape_engines.py")
CASES = {
    "16": [16],
    "64": [64] * 8,
    "256": [256] * 4,
    "2048": [2048],
    "mixed": [12, 18, 25, 33, 47, 64, 90, 130, 180, 250],
}


def checkpoint(shape: str, folder: Path) -> None:
    """Save random bfloat16 weights of the shape, with transformers."""
    import torch
    from transformers import EuroBertConfig, EuroBertModel, Qwen3Config, Qwen3Model

    rope = {"rope_type": "default"}
    torch.manual_seed(0)
    if shape == "nano":
        sizes = {"hidden_size": 768, "intermediate_size": 3072, "num_hidden_layers": 12, "num_attention_heads": 12}
        config = EuroBertConfig(vocab_size=128256, rope_parameters={**rope, "rope_theta": 1e6}, **sizes)
        model: Any = EuroBertModel(config)
    else:
        sizes = {"hidden_size": 1024, "intermediate_size": 3072, "num_hidden_layers": 28, "num_attention_heads": 16}
        sizes |= {"num_key_value_heads": 8, "head_dim": 128}
        model = Qwen3Model(Qwen3Config(vocab_size=151936, rope_parameters={**rope, "rope_theta": 3.5e6}, **sizes))
    model.to(torch.bfloat16).save_pretrained(folder)


def graphs(folder: Path, levels: list[str], dynamic: bool, out: Path, pooling: Literal["last", "mean"]) -> None:
    """Write our graphs, and the float32 one quantised with one activation scale for a tensor."""
    from edge_embed_convert.checkpoint.source import Tensors
    from edge_embed_convert.onnx.export import to_onnx

    config = json.loads((folder / "config.json").read_text())
    tensors = Tensors([folder / "model.safetensors"])
    for level in levels:
        to_onnx(config, tensors, level, out, pooling=pooling)
    if dynamic:
        from onnxruntime.quantization import QuantType, quantize_dynamic

        place = folder / "onnx"
        quantize_dynamic(
            place / "model.onnx",
            place / "dynamic.onnx",
            weight_type=QuantType.QInt8,
            use_external_data_format=True,
            extra_options={"DefaultTensorType": 1},  # float32; its shape inference does not know the fused operators
        )


class Worker:
    """One engine's process."""

    def __init__(self, python: str, *words: str) -> None:
        command = [python, str(WORKER), *words]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.seconds: dict[str, list[float]] = {}
        self.memory = 0.0

    def run(self, lengths: list[int]) -> float:
        """Embed texts of these lengths and return the seconds."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps(lengths) + "\n")
        self.process.stdin.flush()
        answer = json.loads(self.process.stdout.readline())
        self.memory = answer["memory"]
        return float(answer["seconds"])


def main() -> None:
    """Make the weights, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("shape", choices=["nano", "small"])
    parser.add_argument("--levels", nargs="*", default=["float32", "int8", "int4"])
    parser.add_argument("--cases", nargs="*", default=list(CASES), choices=list(CASES))
    parser.add_argument("--torch", nargs="*", default=["float32", "bfloat16"])
    parser.add_argument("--openvino", help="an OpenVINO model of the same shape, inputs input_ids and attention_mask")
    parser.add_argument("--dynamic", action="store_true")
    parser.add_argument(
        "--all-rows", action="store_true", help="int8 with the last layer computed for every token, too"
    )
    parser.add_argument("--peer-python", default=sys.executable, help="interpreter that has the peers installed")
    parser.add_argument(
        "--keep", type=Path, help="a folder for the random checkpoint and the graphs, used again if there"
    )
    parser.add_argument("--rounds", type=int, default=5)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = args.keep or Path(scratch)
        if not (folder / "config.json").exists():
            checkpoint(args.shape, folder)
        graphs(folder, args.levels, args.dynamic, folder, "last")
        workers = {f"edge_embed {level}": Worker(sys.executable, "edge", level, str(folder)) for level in args.levels}
        workers |= {f"PyTorch {dtype}": Worker(args.peer_python, "torch", dtype, str(folder)) for dtype in args.torch}
        if args.all_rows:
            graphs(folder, ["int8"], False, folder / "all-rows", "mean")
            workers["edge_embed int8, all rows"] = Worker(sys.executable, "edge", "int8", str(folder / "all-rows"))
        if args.openvino:
            workers["OpenVINO int8"] = Worker(args.peer_python, "openvino", args.openvino, str(folder))
        if args.dynamic:
            workers["ONNX dynamic int8"] = Worker(sys.executable, "edge", "dynamic", str(folder))
        for name in args.cases:
            for turn in range(args.rounds + 1):
                for worker in workers.values():
                    seconds = worker.run(CASES[name])
                    if turn:  # the first of each shape warms up
                        worker.seconds.setdefault(name, []).append(seconds)
                    time.sleep(0.1)
        for worker in workers.values():
            worker.process.kill()
            worker.process.wait()
    report(args.shape, args.cases, workers)


def report(shape: str, cases: list[str], workers: dict[str, Worker]) -> None:
    """Print tokens per second for each case, and the peak memory."""
    print(f"| {shape}, tokens/s | {' | '.join(cases)} | peak MB |\n|---|{'---|' * (len(cases) + 1)}")
    rows = {}
    for name, worker in workers.items():
        speeds = {case: sum(CASES[case]) / statistics.median(worker.seconds[case]) for case in cases}
        rows[name] = speeds | {"peak_mb": worker.memory}
        print(f"| {name} | {' | '.join(f'{speed:,.0f}' for speed in speeds.values())} | {worker.memory:,.0f} |")
    print(json.dumps({"shape": shape, "engines": rows}))


if __name__ == "__main__":
    main()
