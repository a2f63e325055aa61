"""Long texts at nano's shape, and images at jina-clip-v1's, both with random weights: token ids and JPEG files in."""

from __future__ import annotations

import argparse
import importlib.util
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.speed import images as speed_images
from benchmarks.speed.shapes import CASES
from benchmarks.timing import alternate
from benchmarks.worker import Worker

from . import environments, models

LEVELS = ("int8", "float32")
BITS = {"int8": 8, "float32": 32, "bfloat16": 16}


@dataclass(frozen=True)
class Shapes:
    """How the engines of nano's shape are started, and why some cannot be."""

    starts: Mapping[str, partial[Worker]]
    refused: Mapping[str, str]


def make(keep: Path) -> Shapes:
    """Write nano's shape in every engine's form."""
    ours, torch = (environments.make(keep, name) for name in ("edge-embed openvino", "sentence-transformers"))
    openvino = environments.make(keep, "openvino")
    folder, quantised = models.nano(keep, openvino)
    edge = partial(Worker, "shapes", python=ours.python)
    starts = {f"edge_embed onnx {level}": partial(edge, "edge", level, folder) for level in LEVELS}
    starts["edge_embed openvino int8"] = partial(edge, "edge-openvino", "int8", folder / "portable")
    refused = {}
    for dtype in ("float32", "bfloat16"):
        if torch.error:
            refused[f"PyTorch {dtype}"] = torch.error
        else:
            starts[f"PyTorch {dtype}"] = partial(Worker, "shapes", "torch", dtype, folder, python=torch.python)
    if quantised.error:
        refused["OpenVINO int8, NNCF"] = quantised.error
    else:
        place = quantised.path, folder
        starts["OpenVINO int8, NNCF"] = partial(Worker, "shapes", "openvino", *place, python=openvino.python)
    return Shapes(starts, refused)


def measure(shapes: Shapes, cases: Mapping[str, int], threads: int) -> dict[str, Any]:
    """Embed one text of each length in rounds, behind one that warms up -> seconds of each, and the peak memory."""
    told: dict[str, Any] = {"refused": dict(shapes.refused), "threads": threads, "rows": {}}
    for case, rounds in cases.items():
        with ExitStack() as stack:
            workers = {name: stack.enter_context(start()) for name, start in shapes.starts.items()}
            for worker in workers.values():
                worker.ask([64])
            calls = {name: partial(worker.ask, CASES[case]) for name, worker in workers.items()}
            for name, answers in alternate(calls, rounds, warm_up=0, rest=0.2).items():
                row = told["rows"].setdefault(
                    name, {"bits": BITS[name.replace(",", "").split()[-1 - ("NNCF" in name)]]}
                )
                row[case] = {"wall": [a.seconds.wall for a in answers], "peak_mb": answers[-1].peak_mb}
    return told


def images(rounds: int) -> dict[str, Any] | None:
    """Embed eight photographs of 640 x 480 with jina-clip-v1's tower; None where PyTorch is not installed here."""
    if importlib.util.find_spec("torch") is None or importlib.util.find_spec("transformers") is None:
        return None
    peers = ["transformers float32", "transformers bfloat16"]
    args = argparse.Namespace(
        tower="jina-clip-v1", levels=["int8", "float32"], size="640x480", count=8, rounds=rounds, peers=peers
    )
    figures: dict[str, Any] = speed_images.run(args).figures
    return figures
