"""Shows that int8 products overflow on x86 without VNNI, and that the exact kernels that we ask for there do not.

    python -m benchmarks quality.overflow MODEL_FOLDER native.npy
    qemu-x86_64 -cpu Haswell $(readlink -f $(which python)) -m benchmarks \\
        quality.overflow MODEL_FOLDER haswell.npy native.npy

MODEL_FOLDER holds onnx/model_int8.onnx. Saves two vectors, with the fast and with the exact kernels, and tells their
cosines to those of another processor.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.report import Report, Table
from edge_embed.backends.onnx.runtime import ort

IDS = np.arange(1000, 1032, dtype=np.int64)[None]


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("folder", type=Path, help="holds onnx/model_int8.onnx")
    parser.add_argument("out", type=Path, help="the .npy file to write")
    parser.add_argument("references", type=Path, nargs="*", help="such files from other processors")


def run(args: argparse.Namespace) -> Report:
    """Embed with both kinds of kernel, save, compare."""
    vectors = np.stack([embed(args.folder / "onnx" / "model_int8.onnx", exact) for exact in "01"])
    np.save(args.out, vectors)
    table = Table("cosine to", "fast kernels", "exact kernels")
    cosines = {}
    for path in args.references:
        fast, exact = (vectors * np.load(path)[1]).sum(axis=1)
        cosines[str(path)] = {"fast": float(fast), "exact": float(exact)}
        table.add(str(path), f"{fast:.5f}", f"{exact:.5f}")
    return Report([table if args.references else f"{args.out} is written"], {"cosines": cosines})


def embed(path: Path, exact: str) -> NDArray[np.float32]:
    """Return the unit vector of a text of 32 tokens, mean pooled."""
    options = ort.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = 1
    options.add_session_config_entry("session.x64quantprecision", exact)
    session: Any = ort.InferenceSession(str(path), options)
    rows: NDArray[np.float32] = session.run(None, {"input_ids": IDS, "attention_mask": np.ones_like(IDS)})[0][0]
    vector: NDArray[np.float32] = np.atleast_2d(rows).mean(axis=0)
    return vector / np.linalg.norm(vector)
