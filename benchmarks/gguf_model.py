"""GGUF files at the real shapes of v5-text-nano and -small, random weights, for gguf_speed.py.

    python benchmarks/gguf_model.py CHECKPOINT OUT.gguf F16          a checkpoint such as shapes.py --keep leaves
    python benchmarks/gguf_model.py OUT-F16.gguf OUT.gguf Q4_K_M     the same weights at another level

The vocabulary is byte-level and made up, so any text can be tokenised. Levels that want an importance get ones, which
costs quality, not speed.
"""

from __future__ import annotations

import ctypes
import json
import sys
from pathlib import Path

import gguf
import llama_cpp
import numpy as np

from edge_embed_convert.checkpoint.source import Tensors

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
import gguf_files


def write(checkpoint: Path, out: Path) -> None:
    """Write a checkpoint as F16, pooling its last token."""
    config = json.loads((checkpoint / "config.json").read_text())
    tensors = Tensors([checkpoint / "model.safetensors"])
    gguf_files.write(out, config, tensors, "last", gguf.GGMLQuantizationType.F16)


def quantize(source: Path, out: Path, level: str) -> None:
    """Quantise an F16 file with llama.cpp; every importance is one."""
    params = llama_cpp.llama_model_quantize_default_params()
    params.ftype = getattr(llama_cpp, f"LLAMA_FTYPE_MOSTLY_{level}")
    matrices = {t.name: int(t.shape[0]) for t in gguf.GGUFReader(source).tensors if len(t.shape) == 2}
    kept = [(name.encode(), np.ones(width, np.float32)) for name, width in matrices.items()]
    importance = (llama_cpp.llama_model_imatrix_data * (len(kept) + 1))()
    for entry, (name, values) in zip(importance, kept, strict=False):
        entry.name, entry.size = name, len(values)
        entry.data = values.ctypes.data_as(ctypes.POINTER(ctypes.c_float))
    params.imatrix = importance
    if llama_cpp.llama_model_quantize(str(source).encode(), str(out).encode(), params):
        raise SystemExit(f"llama.cpp could not make {out}")


def main() -> None:
    """Make one file."""
    source, out, level = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]
    if source.is_dir():
        write(source, out)
    else:
        quantize(source, out, level)


if __name__ == "__main__":
    main()
