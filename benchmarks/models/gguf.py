"""GGUF files at the real shapes of v5-text-nano and -small, random weights, for speed.gguf.

    python -m benchmarks models.gguf CHECKPOINT OUT.gguf F16          a checkpoint such as speed.shapes --keep leaves
    python -m benchmarks models.gguf OUT-F16.gguf OUT.gguf Q4_K_M     the same weights at another level

The vocabulary is byte-level and made up, so any text can be tokenised. Levels that want an importance get ones, which
costs quality, not speed.
"""

from __future__ import annotations

import argparse
import ctypes
import json
from pathlib import Path

import numpy as np

from benchmarks.report import Report


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("source", type=Path, help="a checkpoint's folder, or a GGUF file of F16")
    parser.add_argument("out", type=Path, help="the file to write")
    parser.add_argument("level", help="llama.cpp's name; F16 of a checkpoint")


def run(args: argparse.Namespace) -> Report:
    """Write one file."""
    if args.source.is_dir():
        write(args.source, args.out)
    else:
        quantize(args.source, args.out, args.level)
    size = args.out.stat().st_size
    return Report([f"{args.out}: {size:,} bytes"], {"path": str(args.out), "bytes": size})


def write(checkpoint: Path, out: Path) -> None:
    """Write a checkpoint as F16, pooling its last token."""
    import gguf

    from edge_embed_convert.checkpoint.source import Tensors
    from tests.support import gguf_files

    config = json.loads((checkpoint / "config.json").read_text())
    tensors = Tensors([checkpoint / "model.safetensors"])
    gguf_files.write(out, config, tensors, "last", gguf.GGMLQuantizationType.F16)


def quantize(source: Path, out: Path, level: str) -> None:
    """Quantise an F16 file with llama.cpp; every importance is one."""
    import gguf
    import llama_cpp

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
