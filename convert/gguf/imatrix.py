"""Moments of linear layers' inputs -> importance of matrices, and llama.cpp's file of it (llama-quantize --imatrix)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import gguf
import numpy as np

from edge_embed.errors import CorruptModelError

from ..checkpoint.moments import LONGEST, Moments
from ..checkpoint.source import Array
from .names import Entry

DATASET = "whole prompted texts with their closing token"


def importance(entries: Sequence[Entry], moments: Mapping[str, Moments]) -> dict[str, Moments]:
    """Give each matrix's name the moments of what it multiplies; raise CorruptModelError when some are missing."""
    wanted = {entry.name: entry.moments for entry in entries if entry.moments is not None}
    if missing := [source for source in wanted.values() if source not in moments]:
        raise CorruptModelError(f"calibration saw nothing of {missing[0]!r} and {len(missing) - 1} other layers")
    return {name: moments[source] for name, source in wanted.items()}


def mean_squares(importance: Mapping[str, Moments]) -> dict[str, Array]:
    """Return the mean squares (in,) as llama-quantize reads them from the file, to the last bit."""
    return {name: _sums(moments) / np.float32(moments.count) for name, moments in importance.items()}


def write_imatrix(path: Path, importance: Mapping[str, Moments]) -> None:
    """Write the sums of squares and counts of each matrix, as llama-imatrix does."""
    writer = gguf.GGUFWriter(path, "")
    writer.kv_data[0].clear()  # the format has no architecture
    writer.add_type("imatrix")
    writer.add_array("imatrix.datasets", [DATASET])
    writer.add_uint32("imatrix.chunk_count", max(1, max(m.count for m in importance.values()) // LONGEST))
    writer.add_uint32("imatrix.chunk_size", LONGEST)
    for name, moments in sorted(importance.items()):
        writer.add_tensor(f"{name}.in_sum2", _sums(moments)[None])
        writer.add_tensor(f"{name}.counts", np.array([[moments.count]], np.float32))
    try:
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
    finally:
        writer.close()


def _sums(moments: Moments) -> Array:
    return (moments.square.astype(np.float64) * moments.count).astype(np.float32)
