"""An F16 file -> the same at another level, by llama.cpp's own quantiser, which maps the file and keeps a few rows.

llama.cpp decides what type each matrix gets at a level, and takes a coarser block where a row's length does not fit.
"""

from __future__ import annotations

import ctypes
import re
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path

import llama_cpp
import numpy as np

from edge_embed.backends.gguf.log import listening
from edge_embed.device.machine import usable_cpus
from edge_embed.errors import BackendError, InputError

from ..checkpoint.source import Array

# Levels for which llama.cpp wants the importance of every input: some of their matrices have 3 bits or fewer.
NEED_IMPORTANCE = ("IQ3_XS", "IQ3_XXS", "Q2_K_S", "IQ2_M", "IQ2_S", "IQ2_XS", "IQ2_XXS", "IQ1_M", "IQ1_S")
BUFFER = 64 << 20  # bytes of one matrix that are in memory at a time
STEP = re.compile(r"\[ *\d+/ *\d+\]")  # how the log begins each tensor
FALLBACK = re.compile(
    r"warning: (?:blk\.\d+\.)?(\S+)\.weight +- ncols +(\d+) not divisible by +(\d+) \(required for type +(\S+)\)"
    r".*?falling back to +(\S+)"
)


def quantize(
    source: Path,
    target: Path,
    level: str,
    importance: Mapping[str, Array] | None,
    step: Callable[[], object] = lambda: None,
) -> list[str]:
    """Write `target` at the level, calling `step` for each tensor -> what could not have the level's type, in words.

    `importance` gives for a matrix's name the mean square of each of its inputs, (in,). Raises InputError for a level
    that needs it and has none, BackendError with llama.cpp's reason when it fails.
    """
    if level in NEED_IMPORTANCE and importance is None:
        raise InputError(f"{level} needs the importance of every input: give calibration texts")
    params = llama_cpp.llama_model_quantize_default_params()
    params.ftype = ftype(level)
    params.nthread = usable_cpus()
    params.max_buf_size = BUFFER
    entries = _imatrix(importance or {})
    if importance is not None:
        params.imatrix = entries
    log: list[str] = []

    def hear(severity: int, piece: str) -> None:
        log.append(piece)
        if STEP.match(piece):
            step()

    with listening(hear):
        failed = llama_cpp.llama_model_quantize(str(source).encode(), str(target).encode(), ctypes.byref(params))
    text = "".join(log)
    if failed:
        target.unlink(missing_ok=True)
        raise BackendError(f"llama.cpp could not quantise to {level}: {_reason(text)}")
    return _fallbacks(text)


def ftype(level: str) -> int:
    """Return the number that llama.cpp gives a level."""
    return int(getattr(llama_cpp, f"LLAMA_FTYPE_{'ALL' if level == 'F32' else 'MOSTLY'}_{level}"))


def _imatrix(importance: Mapping[str, Array]) -> ctypes.Array[llama_cpp.llama_model_imatrix_data]:
    """Return llama.cpp's array, ended by a null name; it points into `importance`."""
    entries = (llama_cpp.llama_model_imatrix_data * (len(importance) + 1))()
    for entry, (name, values) in zip(entries, importance.items(), strict=False):
        entry.name = name.encode()
        entry.data = np.ascontiguousarray(values, np.float32).ctypes.data_as(ctypes.POINTER(ctypes.c_float))
        entry.size = values.size
    return entries


def _fallbacks(log: str) -> list[str]:
    """Sum up which matrices have which type instead, as in `12 x attn_q: rows of 384 do not fit q4_K, q5_0 instead`."""
    counts = Counter(FALLBACK.findall(log))
    return [
        f"{count} x {name}: rows of {length} are no multiple of {block}, {got} instead of {wanted}"
        for (name, length, block, wanted, got), count in sorted(counts.items())
    ]


def _reason(log: str) -> str:
    lines = [line for line in log.splitlines() if "error" in line.lower() or "fail" in line.lower()]
    return lines[-1].strip() if lines else "it gave no reason"
