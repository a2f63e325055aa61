"""Show that int8 products overflow on x86 without VNNI, and that the exact kernels that we ask for there do not.

    python benchmarks/overflow.py MODEL_FOLDER native.npy
    qemu-x86_64 -cpu Haswell $(readlink -f $(which python)) benchmarks/overflow.py MODEL_FOLDER haswell.npy native.npy

MODEL_FOLDER holds onnx/model_int8.onnx. Saves two vectors, with the fast and with the exact kernels, and prints their
cosines to those of another processor.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

IDS = np.arange(1000, 1032, dtype=np.int64)[None]


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


def main() -> None:
    """Embed with both kinds of kernel, save, compare."""
    folder, out, *others = sys.argv[1:]
    vectors = np.stack([embed(Path(folder) / "onnx" / "model_int8.onnx", exact) for exact in "01"])
    np.save(out, vectors)
    for other in others:
        fast, exact = (vectors * np.load(other)[1]).sum(axis=1)
        print(f"cosine to {other}: {fast:.5f} with the fast kernels, {exact:.5f} with the exact ones")


if __name__ == "__main__":
    main()
